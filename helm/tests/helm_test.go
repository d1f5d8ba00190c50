// Package tests renders the chart with the real Helm and holds what comes out against the Kubernetes types, the node itself and
// what docs/kubernetes.md promises. No cluster is needed, and none is touched.
package tests

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	problems "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

const (
	chart = "../fanfare"
	// Built without being told, Helm takes itself to be for a Kubernetes of long ago.
	kubernetesMinor = "33"
	helmTimeout     = time.Minute
)

var (
	helmBinary string
	// The node itself: FANFARE_BIN, or where cargo puts it.
	fanfareBinary string
)

func TestMain(m *testing.M) {
	if err := findBinaries(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func findBinaries() error {
	var err error
	if helmBinary, err = findHelm(); err != nil {
		return err
	}
	fanfareBinary = os.Getenv("FANFARE_BIN")
	if fanfareBinary == "" {
		fanfareBinary = "../../target/debug/fanfare"
	}
	if fanfareBinary, err = filepath.Abs(fanfareBinary); err == nil {
		_, err = os.Stat(fanfareBinary)
	}
	if err != nil {
		return fmt.Errorf("there is no fanfare to ask; build it (cargo build --bin fanfare) or name it by FANFARE_BIN: %w", err)
	}
	return nil
}

// Builds the Helm of go.mod, unless HELM_BIN names another one.
func findHelm() (string, error) {
	if other := os.Getenv("HELM_BIN"); other != "" {
		return filepath.Abs(other)
	}
	path, err := filepath.Abs("target/helm")
	if err != nil {
		return "", err
	}
	version := "-X=helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=" + kubernetesMinor
	build := exec.Command("go", "build", "-o", path, "-ldflags=-s -w "+version, "helm.sh/helm/v3/cmd/helm")
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("helm can't be built: %w\n%s", err, said)
	}
	return path, nil
}

// Runs Helm in the repository's root, as the docs do, with nothing of this machine's own configuration. Returns its standard
// output, and all it said when it fails.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), helmTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, helmBinary, args...)
	command.Dir = "../.."
	home := t.TempDir()
	command.Env = []string{"HOME=" + home, "KUBECONFIG=" + filepath.Join(home, "none"), "PATH=" + os.Getenv("PATH")}
	var out, complaint bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaint
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("helm %s: %w\n%s%s", strings.Join(args, " "), err, complaint.String(), out.String())
	}
	return out.String(), nil
}

// What an install needs at least.
const least = `
redis: {url: "redis://redis:6379"}
auth: {hs256: {existingSecret: fanfare-jwt}}
`

// Writes values to a file of their own, and returns the flags that name them, in order.
func valuesFlags(t *testing.T, values ...string) []string {
	t.Helper()
	var flags []string
	for i, text := range values {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("values-%d.yaml", i))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		flags = append(flags, "--values", path)
	}
	return flags
}

// The release `live` in the namespace `realtime`, rendered with these values, later ones over earlier ones.
func render(t *testing.T, values ...string) objects {
	t.Helper()
	return renderAs(t, "live", values...)
}

func renderAs(t *testing.T, release string, values ...string) objects {
	t.Helper()
	out, err := helm(t, append([]string{"template", release, "helm/fanfare", "--namespace", "realtime"}, valuesFlags(t, values...)...)...)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, out)
}

// Why these values are refused.
func refusal(t *testing.T, values ...string) string {
	t.Helper()
	_, err := helm(t, append([]string{"template", "live", "helm/fanfare"}, valuesFlags(t, values...)...)...)
	if err == nil {
		t.Fatalf("these values are taken:\n%s", strings.Join(values, "\n"))
	}
	return err.Error()
}

// What an install says at its end. `helm template` leaves it out and `helm install` wants a cluster, so this asks Helm's engine.
func notes(t *testing.T, values ...string) string {
	t.Helper()
	return renderIn(t, cluster{}, values...)["fanfare/templates/NOTES.txt"]
}

// The files that Helm's engine renders for a release of a cluster, by the templates they are from.
func renderIn(t *testing.T, live cluster, values ...string) map[string]string {
	t.Helper()
	loaded, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]any{}
	for _, text := range values {
		more, err := chartutil.ReadValues([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		own = chartutil.MergeTables(more, own)
	}
	release := chartutil.ReleaseOptions{Name: "live", Namespace: "realtime", IsInstall: true, Revision: 1}
	all, err := chartutil.ToRenderValues(loaded, own, release, chartutil.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := engine.RenderWithClientProvider(loaded, all, live)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

// A cluster as far as templates may look into it: its objects as `namespace/kind/name`.
type cluster struct {
	dynamic.NamespaceableResourceInterface
	objects map[string]map[string]any
	path    string
}

func (c cluster) GetClientFor(_, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	return cluster{objects: c.objects, path: kind}, true, nil
}

func (c cluster) Namespace(namespace string) dynamic.ResourceInterface {
	return cluster{objects: c.objects, path: namespace + "/" + c.path}
}

func (c cluster) Get(_ context.Context, name string, _ meta.GetOptions, _ ...string) (*unstructured.Unstructured, error) {
	object, there := c.objects[c.path+"/"+name]
	if !there {
		return nil, problems.NewNotFound(schema.GroupResource{}, name)
	}
	return &unstructured.Unstructured{Object: object}, nil
}
