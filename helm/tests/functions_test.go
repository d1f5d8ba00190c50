package tests

// Who loads the function library, and with whose rights.

import (
	"strings"
	"testing"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
)

func TestTheJobComesBeforeTheNodesAndNeedsNothingOfTheRelease(t *testing.T) {
	t.Parallel()
	all := render(t, read(t, "matrix/cluster-functions-hook.yaml"))
	job := named[*batch.Job](t, all, "live-fanfare-functions")
	if job.Annotations["helm.sh/hook"] != "pre-install,pre-upgrade" {
		t.Errorf("%v", job.Annotations)
	}
	spec := job.Spec.Template.Spec
	if spec.ServiceAccountName != "" || len(spec.Volumes) != 1 || spec.RestartPolicy != core.RestartPolicyNever {
		t.Errorf("%v", spec)
	}
	if got := strings.Join(projected(spec, "redis"), " "); got != "redis-admin:admin>password ca:root.pem>ca.crt" {
		t.Errorf("it has %s", got)
	}
	environment := environmentOf(spec.Containers[0])
	if environment["FANFARE_BACKPLANE"] != "redis+cluster://admin@redis-1:7000" || environment["FANFARE_REDIS_PREFIX"] != "live" {
		t.Errorf("%v", environment)
	}
	if !strings.Contains(settings(t, all), `redis_functions = "check"`) {
		t.Error("nodes would load it, too")
	}
}

func TestAPlainJobIsAnotherOneForAnotherVersion(t *testing.T) {
	t.Parallel()
	job := func(values string) *batch.Job {
		return every[*batch.Job](render(t, read(t, "matrix/functions-plain.yaml"), values))[0]
	}
	first := job("")
	if first.Annotations["helm.sh/hook"] != "" || *first.Spec.TTLSecondsAfterFinished != 3600 {
		t.Errorf("%v", first)
	}
	if got := strings.Join(projected(first.Spec.Template.Spec, "redis"), " "); got != "redis:password>password" {
		t.Errorf("without a password of its own it has %s", got)
	}
	if job("config: {drain_s: 31}").Name != first.Name {
		t.Error("what doesn't concern it makes another Job")
	}
	if job("image: {tag: 0.3.0}").Name == first.Name {
		t.Error("a Job can't be changed")
	}
}

func TestThereIsNoJobWhereNobodyNeedsIt(t *testing.T) {
	t.Parallel()
	for _, values := range []string{"", "redis: {functions: check, functionsJob: {enabled: false}}",
		"{redis: {functions: check}, config: {redis_scripting: eval}}"} {
		if jobs := every[*batch.Job](render(t, least, values)); len(jobs) != 0 {
			t.Errorf("%q: %v", values, jobs)
		}
	}
}

func environmentOf(container core.Container) map[string]string {
	found := map[string]string{}
	for _, variable := range container.Env {
		found[variable.Name] = variable.Value
	}
	return found
}
