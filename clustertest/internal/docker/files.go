package docker

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"strings"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// Places and ports inside a container.
const (
	homeDir  = "/clustertest" // configuration and files; a sentinel rewrites it
	dataDir  = homeDir + "/data"
	confName = "node.conf"

	dataPort     = 6379
	sentinelPort = 26379
	busOffset    = 10000 // the bus port is that much above the client port
)

// portOf returns the client port of a role, which is the same in each container.
func portOf(role redisnode.Role) int {
	if role == redisnode.SentinelNode {
		return sentinelPort
	}
	return dataPort
}

// configuration returns the configuration file of a node at address at.
func configuration(spec redisnode.MachineSpec, at redisnode.Address) string {
	port := fmt.Sprintf("port %d", at.Port)
	if spec.TLS {
		port = fmt.Sprintf("port 0\ntls-port %d", at.Port)
	}
	lines := []string{
		port,
		"bind 0.0.0.0",
		"protected-mode no", // connections come from other addresses, if only of this host
		"dir " + dataDir,
		"daemonize no",
		`logfile ""`,
	}
	switch spec.Role {
	case redisnode.SentinelNode:
		lines = append(lines,
			"sentinel announce-ip "+at.IP,
			fmt.Sprintf("sentinel announce-port %d", at.Port))
	case redisnode.ClusterNode:
		lines = append(lines, "cluster-enabled yes", "cluster-announce-ip "+at.IP)
		fallthrough
	case redisnode.Data:
		lines = append(lines,
			"replica-announce-ip "+at.IP,
			fmt.Sprintf("replica-announce-port %d", at.Port))
	}
	for _, line := range spec.Lines {
		lines = append(lines, strings.ReplaceAll(line, "${DIR}", homeDir))
	}
	return strings.Join(lines, "\n") + "\n"
}

// archive returns a tar file that holds homeDir, to be unpacked at the root. Any
// user of the container may read and write it: images differ in whom they run as.
func archive(conf string, files map[string][]byte) (*bytes.Buffer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	home := strings.TrimPrefix(homeDir, "/")
	data := strings.TrimPrefix(dataDir, "/")
	for _, dir := range []string{home, data} {
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o777})
		if err != nil {
			return nil, fmt.Errorf("docker: pack %s: %w", dir, err)
		}
	}
	add := func(name string, content []byte) error {
		header := &tar.Header{Name: home + "/" + name, Mode: 0o666, Size: int64(len(content))}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	}
	if err := add(confName, []byte(conf)); err != nil {
		return nil, fmt.Errorf("docker: pack %s: %w", confName, err)
	}
	for name, content := range files {
		if !fs.ValidPath(name) || name == "." || name == confName {
			return nil, fmt.Errorf("docker: %q cannot be the name of a file of a node", name)
		}
		if err := add(name, content); err != nil {
			return nil, fmt.Errorf("docker: pack %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("docker: pack: %w", err)
	}
	return &buf, nil
}
