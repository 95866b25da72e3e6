// Package audit reads what the API server logs of every request.
package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Event is what is needed of an event.
// https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/#audit-k8s-io-v1-Event
type Event struct {
	Stage, Verb, UserAgent string
	User                   struct{ Username string }
	ObjectRef              struct{ Resource, Subresource string }
}

// Place is one in the log.
type Place struct{ file os.FileInfo }

// End is where the log ends now.
func End(log string) (Place, error) {
	info, err := os.Stat(log)
	if err != nil {
		return Place{}, fmt.Errorf("find the audit log: %w", err)
	}
	return Place{info}, nil
}

// open returns the log from a place on.
func (p Place) open(log string) (*os.File, error) {
	file, err := os.Open(log)
	if err != nil {
		return nil, err
	}
	now, err := file.Stat()
	if err == nil && !os.SameFile(now, p.file) {
		err = errors.New("the API server has begun another file since: measure again")
	}
	if err == nil {
		_, err = file.Seek(p.file.Size(), io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Requests counts the requests that were answered, by verb and resource, of the
// log from a place on. Only lines with mark in them are decoded, which is most
// of the work, and of those the ones that by agrees to are counted.
func Requests(log string, since Place, mark string, by func(Event) bool) (map[string]int, error) {
	file, err := since.open(log)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	defer file.Close()
	count := map[string]int{}
	lines := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return count, nil // a line that is being written is nobody's yet
		}
		if !bytes.Contains(line, []byte(mark)) {
			continue
		}
		var event Event
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		if event.Stage == "ResponseComplete" && by(event) {
			count[event.name()]++
		}
	}
}

// name is "get pods/log".
func (e Event) name() string {
	name := e.Verb + " " + e.ObjectRef.Resource
	if e.ObjectRef.Subresource != "" {
		name += "/" + e.ObjectRef.Subresource
	}
	return name
}
