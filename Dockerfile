# A release pins this image by digest (golang:...@sha256:...), and action.yml names the released image by digest: a tag can be moved.
FROM golang:1.26-bookworm AS build
WORKDIR /src

# Modules before sources: they change less often and stay in the cache.
COPY go.mod go.sum ./
RUN go mod download

COPY main.go ./
COPY internal internal

# Static and reproducible: no C library, no paths, no version control stamp, no build id, no information for debuggers.
# The second name makes it the post step. A symbolic link: nothing promises that COPY keeps a hard one.
ARG TARGETOS TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -gcflags=all=-dwarf=false -buildvcs=false -ldflags '-s -w -buildid=' -o /image/pgrotate . && \
    ln -s pgrotate /image/pgrotate-resume

FROM scratch

# GitHub and managed databases are verified with the public certificate authorities.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /image/ /

# No USER: another user than root cannot write the files that the runner mounts for outputs and summary.
# https://docs.github.com/en/actions/reference/workflows-and-actions/dockerfile-support#user
# Exec form: there is no shell here, and a shell would lose inputs whose names hold a hyphen.
ENTRYPOINT ["/pgrotate"]
