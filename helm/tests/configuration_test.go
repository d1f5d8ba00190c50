package tests

// The node itself judges what the chart renders: its settings, its environment, its arguments.

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const fanfareTimeout = 30 * time.Second

// Runs the node's program with this environment and no other. Returns what it says on both of its outputs.
func fanfare(t *testing.T, env []string, args ...string) (string, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), fanfareTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, fanfareBinary, args...)
	command.Env = env
	var out, complaint strings.Builder
	command.Stdout, command.Stderr = &out, &complaint
	err := command.Run()
	return out.String(), complaint.String(), err
}

func TestTheNodeTakesTheConfigurationOfEveryWayToInstall(t *testing.T) {
	eachWay(t, func(t *testing.T, values string) {
		all := render(t, values)
		spec := node(t, all).Spec.Template.Spec
		mounted := mount(t, all, spec, spec.Containers[0], nil)
		out, said, err := fanfare(t, mounted.env, "config", "check")
		if err != nil || strings.TrimSpace(said) != "the configuration can be used" {
			t.Fatalf("%v: %s\n%s", err, said, settings(t, all))
		}
		for line := range strings.Lines(settings(t, all)) {
			key, _, isSetting := strings.Cut(line, " = ")
			if !isSetting {
				break // the rules for topics, which are one setting
			}
			if !strings.Contains(lineOf(out, key), "fanfare.toml") {
				t.Errorf("%s is not taken from the file: %q", key, lineOf(out, key))
			}
		}
		for _, key := range []string{"listen", "admin_listen"} {
			if !strings.Contains(lineOf(out, key), "FANFARE_") {
				t.Errorf("%s is not taken from the environment: %q", key, lineOf(out, key))
			}
		}
	})
}

func lineOf(table, key string) string {
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, key+" ") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// Every container that runs the node's program calls it as it can be called.
func TestArgumentsAreThoseOfTheProgram(t *testing.T) {
	eachWay(t, func(t *testing.T, values string) {
		checked := 0
		for _, pod := range podsOf(render(t, values)) {
			for _, container := range pod.containers() {
				if !strings.HasPrefix(container.Image, "ghcr.io/fanfare/fanfare:") {
					continue
				}
				calls := [][]string{container.Args}
				if probe := container.ReadinessProbe; probe != nil && probe.Exec != nil {
					calls = append(calls, probe.Exec.Command[1:])
				}
				for _, call := range calls {
					checked++
					_, said, err := fanfare(t, nil, append(call, "--help")...)
					if err != nil {
						t.Errorf("%s: %v: %s", strings.Join(call, " "), err, said)
					}
				}
			}
		}
		if checked == 0 {
			t.Error("nothing is run")
		}
	})
}

func TestTheNodeSaysWhatTheSchemaCannot(t *testing.T) {
	t.Parallel()
	all := render(t, least, "config: {allowed_origins: example.com}")
	spec := node(t, all).Spec.Template.Spec
	mounted := mount(t, all, spec, spec.Containers[0], nil)
	_, said, err := fanfare(t, mounted.env, "config", "check")
	if err == nil || !strings.Contains(said, "allowed_origins") {
		t.Error(fmt.Sprint(err), said)
	}
}
