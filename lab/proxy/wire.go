package proxy

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// read returns the messages up to the one that the server answers. kind is
// empty when it answers none.
func read(in *bufio.Reader, started bool) (request []byte, kind string, err error) {
	if !started {
		request, err = message(in, 0)
		return request, startup(request), err
	}
	for {
		m, err := message(in, 1)
		if err != nil {
			return nil, "", err
		}
		request = append(request, m...)
		switch m[0] {
		case 'X':
			return request, "", nil
		case 'p':
			return request, "SASL", nil
		case 'Q':
			return request, cmp.Or(statement(m[5:]), "nothing"), nil
		case 'P': // name of the prepared statement, then its text
			_, text, _ := strings.Cut(string(m[5:]), "\x00")
			kind = statement([]byte(text))
		case 'S':
			return request, cmp.Or(kind, "nothing"), nil
		}
	}
}

const longest = 1 << 20 // bytes of a message

// message reads one message: head bytes of type, four of length, the rest.
func message(in *bufio.Reader, head int) ([]byte, error) {
	m := make([]byte, head+4)
	if _, err := io.ReadFull(in, m); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(m[head:])
	if length < 4 || length > longest {
		return nil, errors.New("a message of PostgreSQL's protocol has an impossible length")
	}
	m = append(m, make([]byte, length-4)...)
	_, err := io.ReadFull(in, m[head+4:])
	return m, err
}

const protocol3 = 3 << 16

// startup names a start-up message by its user; it is empty for a request to cancel.
func startup(m []byte) string {
	if len(m) < 9 || binary.BigEndian.Uint32(m[4:]) < protocol3 || binary.BigEndian.Uint32(m[4:]) >= protocol3+1<<16 {
		return ""
	}
	fields := strings.Split(string(m[8:]), "\x00")
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == "user" {
			return "login " + fields[i+1]
		}
	}
	return "login"
}

// statement is the beginning of a statement, without values.
func statement(text []byte) string {
	words := strings.Fields(strings.TrimRight(string(text), "\x00"))
	if len(words) > 1 && words[0] == "ALTER" {
		return words[0] + " " + words[1]
	}
	line := strings.Join(words, " ")
	return fmt.Sprintf("%.60s", line)
}
