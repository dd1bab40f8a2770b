package redisnode

import (
	"fmt"
	"strings"
)

// Names of the PEM files that servers which speak TLS are given with
// [MachineSpec.Files]: the server's certificate, its key, and the certificates
// of the authority that signed it.
const (
	CertFile = "tls.crt"
	KeyFile  = "tls.key"
	CAFile   = "ca.crt"
)

// Quote returns s as one word of a configuration line, whatever bytes it has.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// validate reports what is missing for servers that want to be talked to as a
// says.
func (a Access) validate(files map[string][]byte) error {
	if a.Username != "" && a.Password == "" {
		return fmt.Errorf("redisnode: Access has the user %q and no password", a.Username)
	}
	// A user's name is a bare word in ACL rules and cannot be quoted there.
	if strings.ContainsFunc(a.Username, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("redisnode: Access has the user %q, want no blanks", a.Username)
	}
	if a.TLS == nil {
		return nil
	}
	for _, name := range []string{CertFile, KeyFile, CAFile} {
		if len(files[name]) == 0 {
			return fmt.Errorf("redisnode: Access has TLS, and Files has no %s", name)
		}
	}
	return nil
}

// lines returns what a data server is configured with so that it lets others in
// as a says and gets in with its primary.
func (a Access) lines() []string {
	lines := a.tlsLines()
	if a.Password == "" {
		return lines
	}
	if a.Username == "" {
		lines = append(lines, "requirepass "+Quote(a.Password))
	} else {
		lines = append(lines,
			fmt.Sprintf("user %s on %s ~* &* +@all", a.Username, Quote(">"+a.Password)),
			"masteruser "+Quote(a.Username))
	}
	return append(lines, "masterauth "+Quote(a.Password))
}

// tlsLines is the part of lines that sentinels need too.
func (a Access) tlsLines() []string {
	if a.TLS == nil {
		return nil
	}
	file := func(name string) string { return `"${DIR}/` + name + `"` }
	return []string{
		"tls-cert-file " + file(CertFile),
		"tls-key-file " + file(KeyFile),
		"tls-ca-cert-file " + file(CAFile),
		"tls-auth-clients no",
		"tls-replication yes",
	}
}

// login returns the command that authenticates a connection, nil for none.
func (a Access) login() []string {
	switch {
	case a.Password == "":
		return nil
	case a.Username == "":
		return []string{"AUTH", a.Password}
	}
	return []string{"AUTH", a.Username, a.Password}
}

// dataLines is the configuration every server with data begins with.
func dataLines() []string {
	return []string{
		`save ""`,
		"appendonly yes",
		"appendfsync no",
		// A replica is wanted at once, not after the default 5 s in which more
		// of them might ask for the same snapshot.
		"repl-diskless-sync-delay 0",
	}
}

// replicationLines makes broken replication links be noticed in seconds.
func replicationLines() []string {
	return []string{"repl-ping-replica-period 1", "repl-timeout 3"}
}
