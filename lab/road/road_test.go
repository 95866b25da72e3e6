package road

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"
)

// TestRoadTakesItsTime counts the round trips of a connection and two questions by
// the time that they take at least; how much longer a busy machine takes is not asked.
func TestRoadTakesItsTime(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			fmt.Fprintln(conn, "heard "+lines.Text())
		}
	}()
	road, err := New(server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer road.Close()
	const roundTrip = 20 * time.Millisecond
	road.Lengthen(roundTrip)
	began := time.Now()
	conn, err := net.Dial("tcp", road.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewScanner(conn)
	for _, question := range []string{"one", "two"} {
		fmt.Fprintln(conn, question)
		if !answers.Scan() || answers.Text() != "heard "+question {
			t.Fatalf("the answer to %q is %q", question, answers.Text())
		}
	}
	if took := time.Since(began); took < 3*roundTrip {
		t.Errorf("connecting and two questions took %s, three round trips are %s", took, 3*roundTrip)
	}
	if n := road.Connections(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
	if n, want := road.Bytes(), int64(len("one\nheard one\ntwo\nheard two\n")); n != want {
		t.Errorf("%d bytes were carried, want %d", n, want)
	}
}
