package postgres

import "context"

// ServerAddress returns the IP address on which the server took the connection
// (inet_server_addr), by which the pod that it runs in can be known; empty where
// it is a local socket.
// https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SESSION
func (d *Database) ServerAddress(ctx context.Context) (address string, err error) {
	err = d.with(ctx, func(s *session) error {
		address = s.server
		return nil
	})
	return address, err
}
