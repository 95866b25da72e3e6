package github

import (
	"context"
	"crypto/rand"
	"encoding/base64"

	"github.com/google/go-github/v62/github"
	"golang.org/x/crypto/nacl/box"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// largest is GitHub's limit for the value of a secret.
// https://docs.github.com/en/actions/reference/security/secrets#limits-for-secrets
const largest = 48 * 1024

// publicKey is what a place's secrets are sealed to: Curve25519, 32 bytes.
type publicKey struct {
	id    string
	point [32]byte
}

// fetchKey asks for the place's public key, which also proves that the token
// sees the place. It asks anew where s has the one that is known.
func (s *Secret) fetchKey(ctx context.Context) error {
	key, err := s.client.keys.other(s.target.path(), s.key, func() (*publicKey, error) { return s.askKey(ctx) })
	if err == nil {
		s.key = key
	}
	return err
}

func (s *Secret) askKey(ctx context.Context) (*publicKey, error) {
	var answer github.PublicKey
	if _, err := s.get(ctx, s.target.path()+"/public-key", &answer); err != nil {
		return nil, s.failed("read the public key of "+s.target.where(), err)
	}
	raw, err := base64.StdEncoding.DecodeString(answer.GetKey())
	if err != nil || len(raw) != 32 || answer.GetKeyID() == "" {
		return nil, fail(refused, "check `github-api-url`: another server may have answered", "read the public key of %s: GitHub's answer holds no key of 32 bytes", s.target.where())
	}
	return &publicKey{id: answer.GetKeyID(), point: [32]byte(raw)}, nil
}

// sealed is the body of a PUT. The client library's would leave out an empty
// list of repositories.
type sealed struct {
	KeyID string `json:"key_id"`
	Value string `json:"encrypted_value"`
	*audience
}

// seal makes the body of a PUT. Only the holder of the private key can open it.
// https://docs.github.com/en/rest/guides/encrypting-secrets-for-the-rest-api
func (k *publicKey) seal(value secret.Value) (*sealed, error) {
	text, err := box.SealAnonymous(nil, []byte(value.Reveal()), &k.point, rand.Reader)
	if err != nil {
		return nil, fail(refused, "", "seal the value: %v", err)
	}
	return &sealed{KeyID: k.id, Value: base64.StdEncoding.EncodeToString(text)}, nil
}

// value picks what the secret holds of c.
func (s *Secret) value(c secret.Credential) (secret.Value, error) {
	value := c.Password
	switch s.target.Property {
	case Username:
		value = secret.New(c.User)
	case URL, DSN, Verifier:
		value = c.Keys[s.served]
	}
	switch {
	case value.IsZero():
		return value, fail(refused, "", "choose the value of %s: the credential has no %s", s, s.target.Property)
	case len(value.Reveal()) > largest:
		return value, fail(refused, "", "choose the value of %s: it is longer than GitHub's 48 KB", s)
	}
	return value, nil
}
