package tests

// What the chart renders, run for real as far as that goes without Kubernetes: a Redis with two users, the Job, a node, and the
// containers of `helm test`, each with the arguments, the environment and the files that the manifests give it.

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
)

// For whatever is waited for.
const patience = 30 * time.Second

const released = `
bindAddress: 127.0.0.1
auth: {hs256: {existingSecret: fanfare-jwt}}
config: {drain_delay_s: 0, redis_retry_max_ms: 100}
redis:
  url: redis://node@127.0.0.1:%[1]s
  password: {existingSecret: node}
  functions: check
  functionsJob: {url: "redis://admin@127.0.0.1:%[1]s", password: {existingSecret: admin}}
`

func TestAReleaseWorks(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	all := render(t, fmt.Sprintf(released, redis.port))
	secrets := map[string]string{"node:password": "secret\n", "admin:password": "of-the-admin\n", "fanfare-jwt:secret": madeUp(t, "hs256")}
	test := named[*core.Pod](t, all, "live-fanfare-test").Spec
	show, client := test.InitContainers[0], test.Containers[0]
	checkTheKubeletRuns(t, test)

	if out, said, err := run(t, mount(t, all, test, show, secrets)); err == nil {
		t.Fatalf("the library is there before the Job: %s%s", out, said)
	}
	job := named[*batch.Job](t, all, "live-fanfare-functions").Spec.Template.Spec
	if out, said, err := run(t, mount(t, all, job, job.Containers[0], secrets)); err != nil {
		t.Fatalf("the Job: %v: %s%s", err, out, said)
	}
	if out, said, err := run(t, mount(t, all, test, show, secrets)); err != nil {
		t.Fatalf("after the Job: %v: %s%s", err, out, said)
	}

	spec := node(t, all).Spec.Template.Spec
	running := startNode(t, mount(t, all, spec, spec.Containers[0], secrets))
	container := spec.Containers[0]
	for _, probe := range []*core.Probe{container.StartupProbe, container.LivenessProbe, container.ReadinessProbe} {
		running.until(t, probe.HTTPGet.Path, http.StatusOK)
	}
	listening := mount(t, all, test, client, secrets)
	for i, arg := range listening.args {
		listening.args[i] = strings.ReplaceAll(arg, "live-fanfare:8080", running.clients)
	}
	event := make(chan string, 1)
	go func() {
		out, said, err := run(t, listening)
		event <- fmt.Sprint(err, out, said)
	}()
	publisher := client
	publisher.Args = client.ReadinessProbe.Exec.Command[1:]
	period := time.Duration(client.ReadinessProbe.PeriodSeconds) * time.Second
	got := untilReceived(t, mount(t, all, test, publisher, secrets), period, event)
	if !strings.HasPrefix(got, "<nil>") || !strings.Contains(got, `"helm.test"`) {
		t.Fatalf("the client of helm test: %s", got)
	}

	redis.stop()
	running.until(t, "/readyz", http.StatusServiceUnavailable)
	for _, probe := range []*core.Probe{container.LivenessProbe, container.ReadinessProbe} {
		if status := running.status(probe.HTTPGet.Path); status != http.StatusOK {
			t.Errorf("an outage of Redis restarts the node or takes it from the Service: %s says %d", probe.HTTPGet.Path, status)
		}
	}
	running.leave(t, time.Duration(*spec.TerminationGracePeriodSeconds)*time.Second)
}

func run(t *testing.T, container mounted) (string, string, error) {
	return fanfare(t, container.env, container.args...)
}

// What makes the test go on a real cluster: init containers that come to their end, since the next one waits for it; one other
// container, since Helm shows no logs of a pod with several; and a probe that is asked for as long as that one runs, with the
// time that publishing may take, by the image's own program.
func checkTheKubeletRuns(t *testing.T, test core.PodSpec) {
	t.Helper()
	for _, before := range test.InitContainers {
		if before.RestartPolicy != nil || before.ReadinessProbe != nil {
			t.Errorf("the kubelet wants %s to stay, and it doesn't", before.Name)
		}
	}
	if len(test.Containers) != 1 || test.RestartPolicy != core.RestartPolicyNever {
		t.Fatalf("%d containers, restarted %s", len(test.Containers), test.RestartPolicy)
	}
	probe := test.Containers[0].ReadinessProbe
	if probe == nil || probe.PeriodSeconds > 5 || probe.TimeoutSeconds <= publishTimeoutSeconds {
		t.Fatalf("nothing is published while the client waits: %v", probe)
	}
	if program := probe.Exec.Command[0]; !strings.Contains(read(t, "../../deploy/Dockerfile"), `ENTRYPOINT ["`+program+`"]`) {
		t.Errorf("the image has no %s", program)
	}
}

// How long `fanfare publish` tries to reach Redis (CONNECT_TIMEOUT).
const publishTimeoutSeconds = 5

// Publishes again and again, as the kubelet does with a probe, until the client has ended.
func untilReceived(t *testing.T, publisher mounted, period time.Duration, event chan string) string {
	t.Helper()
	deadline := time.After(patience)
	for {
		if out, said, err := run(t, publisher); err != nil {
			t.Fatalf("the publisher: %v: %s%s", err, out, said)
		}
		select {
		case got := <-event:
			return got
		case <-deadline:
			t.Fatal("the client has not had its event")
		case <-time.After(period):
		}
	}
}

type redisServer struct {
	port string
	stop func()
}

// A Redis with the user that docs/redis.md gives to nodes which may not load the library, and one who may everything.
func startRedis(t *testing.T) redisServer {
	t.Helper()
	grant := regexp.MustCompile(`(?m)^ACL SETUSER (node .*)$`).FindStringSubmatch(read(t, "../../docs/redis.md"))
	if grant == nil {
		t.Fatal("docs/redis.md has no line for the nodes' user")
	}
	users := filepath.Join(t.TempDir(), "users.acl")
	rights := "user default off\nuser admin on >of-the-admin ~* &* +@all\nuser " + strings.Replace(grant[1], "+function|load ", "", 1) + "\n"
	if err := os.WriteFile(users, []byte(rights), 0o600); err != nil {
		t.Fatal(err)
	}
	// Somebody else may take a port between its choice and its use.
	for range 5 {
		port := freePort(t)
		command := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--aclfile", users)
		lines, stop := start(t, command)
		for line := range lines {
			if strings.Contains(line, "Ready to accept connections") {
				go drainLines(lines)
				return redisServer{port, stop}
			}
		}
	}
	t.Fatal("redis-server doesn't start")
	return redisServer{}
}

type runningNode struct {
	process        *os.Process
	clients, admin string
	ended          chan struct{}
}

// Starts a node on ports that are free, and learns from its log which.
func startNode(t *testing.T, container mounted) *runningNode {
	t.Helper()
	command := exec.Command(fanfareBinary, container.args...)
	for _, variable := range container.env {
		command.Env = append(command.Env, strings.NewReplacer(":8080", ":0", ":9090", ":0").Replace(variable))
	}
	lines, _ := start(t, command)
	node := &runningNode{process: command.Process, ended: make(chan struct{})}
	for line := range lines {
		var entry struct{ Message, Listen string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("the node's log is no JSON: %s", line)
		}
		switch entry.Message {
		case "serving clients":
			node.clients = entry.Listen
		case "serving operators":
			node.admin = entry.Listen
		}
		if node.clients != "" && node.admin != "" {
			go func() {
				drainLines(lines)
				close(node.ended)
			}()
			return node
		}
	}
	t.Fatal("the node doesn't start")
	return nil
}

func (n *runningNode) status(path string) int {
	client := http.Client{Timeout: patience}
	response, err := client.Get("http://" + n.admin + path)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	return response.StatusCode
}

func (n *runningNode) until(t *testing.T, path string, want int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		got := n.status(path)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s still says %d", path, got)
		}
	}
}

// Ends the node as Kubernetes does.
func (n *runningNode) leave(t *testing.T, grace time.Duration) {
	t.Helper()
	if err := n.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.ended:
	case <-time.After(grace):
		t.Errorf("the node would be killed, after %s", grace)
	}
}

// Starts a program whose lines can be read until it ends. It ends with the test at the latest.
func start(t *testing.T, command *exec.Cmd) (chan string, func()) {
	t.Helper()
	reader, writer := io.Pipe()
	command.Stdout, command.Stderr = writer, writer
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(context.Background())
	go func() {
		_ = command.Wait()
		writer.Close()
		end()
	}()
	stop := func() {
		_ = command.Process.Kill()
		<-ended.Done()
	}
	t.Cleanup(stop)
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(reader); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return lines, stop
}

func drainLines(lines chan string) {
	for range lines {
	}
}
