package clustertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// tlsName is the name in the nodes' certificate. Clients check for it instead of
// an address: the address of a node depends on who asks.
const tlsName = "clustertest"

// authority is a certificate authority that signed one certificate, which all
// nodes of a cluster share.
type authority struct {
	ca, cert, key []byte // PEM
}

// certificateLife covers long soaks and clocks that are wrong by a day.
const certificateLife = 365 * 24 * time.Hour

func newAuthority() (*authority, error) {
	a, err := makeAuthority(time.Now())
	if err != nil {
		return nil, fmt.Errorf("clustertest: make certificates: %w", err)
	}
	return a, nil
}

func makeAuthority(now time.Time) (*authority, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	root := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: tlsName + " CA"},
		NotBefore:             now.Add(-24 * time.Hour),
		NotAfter:              now.Add(certificateLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	// Nodes are clients of each other, too.
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: tlsName},
		NotBefore:    root.NotBefore,
		NotAfter:     root.NotAfter,
		DNSNames:     []string{tlsName, "localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, &key.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &authority{
		ca:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}),
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

// config returns what a client of the nodes needs.
func (a *authority) config() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.ca)
	return &tls.Config{RootCAs: roots, ServerName: tlsName, MinVersion: tls.VersionTLS12}
}

// files are what each node needs.
func (a *authority) files() map[string][]byte {
	return map[string][]byte{redisnode.CAFile: a.ca, redisnode.CertFile: a.cert, redisnode.KeyFile: a.key}
}
