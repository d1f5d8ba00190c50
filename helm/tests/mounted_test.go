package tests

// A container's files and environment as Kubernetes would make them, in a directory of this machine, so that the node itself can
// be run with what the chart renders.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
)

const mountedAt = "/etc/fanfare"

// What a container finds: its arguments and its environment, with the paths of this machine.
type mounted struct {
	args, env []string
}

// Lays out what is mounted into a container. `secrets` has the contents by object and key, as in `redis:password`; what it
// doesn't have is made up.
func mount(t *testing.T, all objects, spec core.PodSpec, container core.Container, secrets map[string]string) mounted {
	t.Helper()
	root := t.TempDir()
	here := func(text string) string { return strings.ReplaceAll(text, mountedAt, root) }
	write := func(path, content string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, volume := range container.VolumeMounts {
		if volume.Name == "config" {
			write(here(volume.MountPath)+"/fanfare.toml", here(settings(t, all)))
		}
		for _, source := range projected(spec, volume.Name) {
			from, path, _ := strings.Cut(source, ">")
			content, given := secrets[from]
			if !given {
				content = madeUp(t, path)
			}
			write(here(volume.MountPath)+"/"+path, content)
		}
	}
	found := mounted{}
	for _, arg := range container.Args {
		found.args = append(found.args, here(arg))
	}
	for _, variable := range container.Env {
		if variable.ValueFrom == nil {
			found.env = append(found.env, variable.Name+"="+here(variable.Value))
		}
	}
	return found
}

// Something of the kind that is expected at this path.
func madeUp(t *testing.T, path string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	switch name := filepath.Base(path); {
	case strings.HasSuffix(name, ".pem"), filepath.Base(filepath.Dir(path)) == "keys":
		public, err := x509.MarshalPKIXPublicKey(key.Public())
		return inPEM(t, "PUBLIC KEY", public, err)
	case strings.HasSuffix(name, ".crt"):
		certificate := x509.Certificate{
			SerialNumber: big.NewInt(1),
			Subject:      pkix.Name{CommonName: "live.example.com"},
			NotAfter:     time.Now().Add(time.Hour),
		}
		signed, err := x509.CreateCertificate(rand.Reader, &certificate, &certificate, key.Public(), key)
		return inPEM(t, "CERTIFICATE", signed, err)
	case strings.HasSuffix(name, ".key"):
		private, err := x509.MarshalPKCS8PrivateKey(key)
		return inPEM(t, "PRIVATE KEY", private, err)
	case name == "api-keys.toml":
		return "[[key]]\nname = \"orders\"\nkey = \"" + rand.Text() + "\"\ntenants = [\"*\"]\nverbs = [\"publish\"]\n"
	default:
		return rand.Text() + rand.Text()
	}
}

func inPEM(t *testing.T, kind string, bytes []byte, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))
}

// A port that nobody uses at this moment.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}
