package clustertest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

var (
	directiveName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]*$`)
	memorySize    = regexp.MustCompile(`^(?i)[0-9]+(b|k|kb|m|mb|g|gb)?$`)
	policyName    = regexp.MustCompile(`^[a-z]+(-[a-z]+)?$`)
)

// reserved are the directives that would break the harness, and what to use in
// their place if there is something. A name that ends in "*" is a prefix.
var reserved = []struct{ name, why string }{
	{"port", "ports are chosen by the backend"},
	{"bind*", "addresses are chosen by the backend"},
	{"unixsocket*", "nodes are reached by TCP"},
	{"protected-mode", "it is set by the backend"},
	{"dir", "directories are chosen by the backend"},
	{"daemonize", "the backend has to see the process"},
	{"supervised", "the backend has to see the process"},
	{"pidfile", "the backend has to see the process"},
	{"logfile", "logs are collected by the backend"},
	{"syslog-*", "logs are collected by the backend"},
	{"include", "directives in other files cannot be checked"},
	{"rename-command", "the harness needs the commands by their names"},
	{"aclfile", "use Topology.Users"},
	{"user", "use Topology.Users"},
	{"requirepass", "use Topology.Password"},
	{"masterauth", "use Topology.Password"},
	{"masteruser", "use Topology.Password"},
	{"primaryauth", "use Topology.Password"},
	{"primaryuser", "use Topology.Password"},
	{"tls-*", "use Topology.TLS"},
	{"replicaof", "roles are given by the harness"},
	{"slaveof", "roles are given by the harness"},
	{"replica-announce-*", "addresses are chosen by the backend"},
	{"slave-announce-*", "addresses are chosen by the backend"},
	{"cluster-enabled", "use Topology.Mode"},
	{"cluster-port", "ports are chosen by the backend"},
	{"cluster-config-file", "files are chosen by the backend"},
	{"cluster-announce-*", "addresses are chosen by the backend"},
	{"cluster-node-timeout", "use Topology.NodeTimeout"},
	{"cluster-require-full-coverage", "use Topology.FullCoverage"},
	{"sentinel", "sentinels are configured by the harness"},
	{"maxmemory", "use Topology.MaxMemory"},
	{"maxmemory-policy", "use Topology.MaxMemoryPolicy"},
}

func (t Topology) checkConfig() error {
	var errs []error
	if t.MaxMemory != "" && !memorySize.MatchString(t.MaxMemory) {
		errs = append(errs, fmt.Errorf("field MaxMemory is %q, want a size like 10mb", t.MaxMemory))
	}
	if t.MaxMemoryPolicy != "" && !policyName.MatchString(t.MaxMemoryPolicy) {
		errs = append(errs, fmt.Errorf("field MaxMemoryPolicy is %q, want a policy like allkeys-lru", t.MaxMemoryPolicy))
	}
	for _, line := range t.Config {
		errs = append(errs, checkLine(line))
	}
	return errors.Join(errs...)
}

// checkLine says why a line cannot be in a node's configuration file. Whether
// the server knows the directive is for the server to say.
func checkLine(line string) error {
	name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch {
	case strings.ContainsFunc(line, unicode.IsControl):
		return fmt.Errorf("line %q in Config: want one line without control characters", line)
	case !directiveName.MatchString(name):
		return fmt.Errorf("line %q in Config: want \"name value\"", line)
	}
	name = strings.ToLower(name)
	for _, r := range reserved {
		prefix, isPrefix := strings.CutSuffix(r.name, "*")
		if name == r.name || isPrefix && strings.HasPrefix(name, prefix) {
			return fmt.Errorf("line %q in Config would break the harness: %s", line, r.why)
		}
	}
	return nil
}

func (t Topology) checkAccess() error {
	var errs []error
	if strings.ContainsFunc(t.Password, notInWord) {
		errs = append(errs, errors.New("field Password contains blanks, quotes, backslashes or control characters"))
	}
	var names []string
	for _, rule := range t.Users {
		name, rest, _ := strings.Cut(rule, " ")
		switch {
		case strings.ContainsFunc(rule, unicode.IsControl):
			errs = append(errs, fmt.Errorf("user %q in Users: want one line without control characters", rule))
		case name == "" || strings.TrimSpace(rest) == "":
			errs = append(errs, fmt.Errorf("user %q in Users: want a name and rules like \"alice on >secret ~app:* +@read\"", rule))
		case name == "default":
			errs = append(errs, errors.New("user default in Users: the harness needs it, use Password"))
		case slices.Contains(names, name):
			errs = append(errs, fmt.Errorf("user %q is in Users twice", name))
		}
		names = append(names, name)
	}
	return errors.Join(errs...)
}

// notInWord reports whether a character would have to be escaped somewhere on
// the way of a password: configuration file, command line, URL.
func notInWord(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("\"'\\", r)
}

// lines returns the directives for data servers that follow from the topology
// alone.
func (t Topology) lines() []string {
	var lines []string
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, name+" "+value)
		}
	}
	add("maxmemory", t.MaxMemory)
	add("maxmemory-policy", t.MaxMemoryPolicy)
	for _, rule := range t.Users {
		add("user", rule)
	}
	return append(lines, t.Config...)
}
