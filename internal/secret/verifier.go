package secret

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
)

// SCRAM computes the SCRAM-SHA-256 verifier of a password with a salt in base64:
// RFC 5802, section 3, in the form of RFC 5803 as PostgreSQL writes it. It is
// empty where the salt is none.
func SCRAM(password, salt string, iterations int) string {
	raw, err := base64.StdEncoding.DecodeString(salt)
	if err != nil {
		return ""
	}
	salted, err := pbkdf2.Key(sha256.New, password, raw, iterations, sha256.Size)
	if err != nil {
		return "" // only in FIPS mode, for a salt that is too short
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, salt, encode(stored[:]), encode(mac(salted, "Server Key")))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// MD5 is what PostgreSQL stores for a role under password_encryption=md5.
func MD5(role, password string) string {
	sum := md5.Sum([]byte(password + role))
	return "md5" + hex.EncodeToString(sum[:])
}
