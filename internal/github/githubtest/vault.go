package githubtest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/nacl/box"
)

// vault is one place that holds secrets: a repository, an environment, an
// organization, or one of the first and last for Dependabot.
type vault struct {
	keyID   string
	public  *[32]byte
	private *[32]byte
	secrets map[string]*entry // by name in capitals: names ignore case
	most    int               // secrets that it may have; 0: any number
}

// entry is one secret, opened.
type entry struct {
	Name       string    `json:"name"`
	Value      string    `json:"value"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	Visibility string    `json:"visibility,omitempty"` // of an organization's
	selected   []int64
	former     *entry // what a replica that lags behind still shows
}

func newVault(most int) *vault {
	v := &vault{secrets: map[string]*entry{}, most: most}
	v.rotateKey()
	return v
}

// rotateKey makes a new key pair; boxes sealed to the former one open no more.
func (v *vault) rotateKey() {
	public, private, err := box.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	v.public, v.private = public, private
	v.keyID = strconv.FormatUint(binary.BigEndian.Uint64(public[:])>>4, 10)
}

func (v *vault) publicKey() map[string]any {
	return map[string]any{"key_id": v.keyID, "key": base64.StdEncoding.EncodeToString(v.public[:])}
}

// open opens a sealed box, base64 as it is in the request.
// https://doc.libsodium.org/public-key_cryptography/sealed_boxes
func (v *vault) open(encrypted string) (string, bool) {
	sealed, err := base64.StdEncoding.DecodeString(encrypted)
	if err != nil {
		return "", false
	}
	plain, ok := box.OpenAnonymous(nil, sealed, v.public, v.private)
	return string(plain), ok
}

// store writes a secret and tells whether it is new. GitHub keeps whole seconds.
func (v *vault) store(e entry) (created bool) {
	now := time.Now().UTC().Truncate(time.Second)
	e.former = v.secrets[strings.ToUpper(e.Name)]
	e.CreatedAt, e.UpdatedAt = now, now
	if e.former != nil {
		e.CreatedAt = e.former.CreatedAt
		former := *e.former
		former.former = nil
		e.former = &former
	}
	e.Name = strings.ToUpper(e.Name)
	v.secrets[e.Name] = &e
	return e.former == nil
}

func (v *vault) full() bool { return v.most > 0 && len(v.secrets) >= v.most }

// show is the answer for one secret: everything but its value.
func (e *entry) show() map[string]any {
	out := map[string]any{"name": e.Name, "created_at": e.CreatedAt, "updated_at": e.UpdatedAt}
	if e.Visibility != "" {
		out["visibility"] = e.Visibility
	}
	return out
}
