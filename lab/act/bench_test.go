package act

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/lab/leak"
)

// bench is what all runs share.
type bench struct {
	lab      labtest.Lab
	runner   Runner
	source   string // of the checkout that all of this belongs to
	checkout string // this repository, as pgrotate/pgrotate@v1 would be
	runs     int
}

func newBench(t *testing.T) *bench {
	b := &bench{lab: labtest.Open(t), checkout: filepath.Join(t.TempDir(), "checkout")}
	source, err := filepath.Abs("../..")
	check(t, err)
	b.source = source
	check(t, Checkout(t.Context(), source, b.checkout))
	b.runner = Runner{Engine: started(t, source), Folder: t.TempDir(), Actions: map[string]string{"pgrotate/pgrotate@v1": b.checkout}}
	return b
}

// started is Docker with the images that the checkout asks for.
func started(t testing.TB, source string) Engine {
	cache, err := os.UserCacheDir()
	check(t, err)
	kept := filepath.Join(cache, "pgrotate-lab", "act")
	programs := Programs(filepath.Join(kept, "programs"))
	check(t, programs.Get(t.Context(), t.Logf))
	engine := Engine{Programs: programs, Folder: filepath.Join(kept, "docker")}
	t.Cleanup(func() { check(t, engine.Stop(context.Background())) })
	check(t, engine.Start(t.Context()))
	check(t, Images{Engine: engine, Folder: kept, Source: source}.Make(t.Context()))
	return engine
}

// shop is the workload of every platform; its restart takes some time with
// lasting pods, one after the other.
const (
	shop    = "shop"
	lasting = 3
)

// platform makes what a run rotates.
func (b *bench) platform(t *testing.T, pods int32) *fixture.Platform {
	t.Helper()
	p, err := fixture.New(t.Context(), b.lab)
	t.Cleanup(func() { check(t, p.Close()) })
	check(t, err)
	check(t, p.OpenCreator())
	check(t, p.Deploy(shop, pods))
	return p
}

// secrets are those of an environment that rotates p, with the rights that the
// documentation asks for.
func (b *bench) secrets(t *testing.T, p *fixture.Platform) map[string]string {
	t.Helper()
	ca, err := os.ReadFile(b.lab.PostgresCA)
	check(t, err)
	return map[string]string{
		"ADMIN_DATABASE_URL": p.AdminURL(), "DATABASE_CA": string(ca),
		"KUBECONFIG_BASE64": b.kubeconfig(t, p.Account), "SECRETS_WRITER": p.Token,
	}
}

// kubeconfig has no files beside it; the token takes the place of the lab's
// administrator, unless it is empty.
func (b *bench) kubeconfig(t *testing.T, token string) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(b.lab.Kubeconfig)
	check(t, err)
	check(t, api.FlattenConfig(config))
	for name := range config.AuthInfos {
		if token != "" {
			config.AuthInfos[name] = &api.AuthInfo{Token: token}
		}
	}
	text, err := clientcmd.Write(*config)
	check(t, err)
	return base64.StdEncoding.EncodeToString(text)
}

// encrypted makes an address that verifies nobody, for where no certificate can be given.
func encrypted(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	check(t, err)
	u.RawQuery = "sslmode=require"
	return u.String()
}

// repository makes the repository acme/shop of the files.
func (b *bench) repository(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		path := filepath.Join(folder, name)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte(text), 0o644))
	}
	check(t, Repository(t.Context(), folder, fixture.Repository))
	return folder
}

const workflows = ".github/workflows/"

// copied makes acme/shop of workflows that were copied out of this repository,
// with targets of its own.
func (b *bench) copied(t *testing.T, targets ...map[string]string) string {
	t.Helper()
	list, err := json.Marshal(map[string]any{"targets": targets})
	check(t, err)
	files := map[string]string{".github/rotation-targets.json": string(list)}
	for _, name := range []string{"rotate.yml", "rotate-scheduled.yml", "rotate-emergency.yml", "resume.yml"} {
		text, err := os.ReadFile(filepath.Join(b.checkout, workflows, name))
		check(t, err)
		files[workflows+name] = string(text)
	}
	return b.repository(t, files)
}

// start starts a run where GitHub is that of p.
func (b *bench) start(t *testing.T, p *fixture.Platform, c Call) *Running {
	t.Helper()
	environment := map[string]string{"GITHUB_API_URL": p.API.URL}
	maps.Copy(environment, c.Environment)
	c.Environment = environment
	return b.alone(t, c)
}

// alone starts a run. Each has an id of its own.
func (b *bench) alone(t *testing.T, c Call) *Running {
	t.Helper()
	b.runs++
	environment := map[string]string{"GITHUB_RUN_ID": fmt.Sprint(1000 + b.runs)}
	maps.Copy(environment, c.Environment)
	c.Environment = environment
	running, err := b.runner.Start(t.Context(), c)
	check(t, err)
	return running
}

// finish waits for a run and looks for secrets of the platforms in what it has
// said. The log is shown when the test fails.
func (b *bench) finish(t *testing.T, running *Running, platforms ...*fixture.Platform) (Log, bool) {
	t.Helper()
	log, success, err := running.Wait()
	t.Cleanup(func() {
		if t.Failed() && log != nil {
			t.Logf("the log of the run:\n%s\nits summary:\n%s", log, log.Summaries())
		}
	})
	check(t, err)
	var secrets leak.Search
	for _, p := range platforms {
		now, err := p.Look()
		check(t, err)
		for _, secret := range []string{p.Password, now.Served(), p.Admin, p.Token, p.Account} {
			secrets.Add("a secret of the run", secret)
		}
	}
	for _, hit := range append(secrets.In("the log", log.String()), secrets.In("the summary", log.Summaries())...) {
		t.Error(hit)
	}
	return log, success
}

// run is start and finish.
func (b *bench) run(t *testing.T, p *fixture.Platform, c Call) (Log, bool) {
	t.Helper()
	return b.finish(t, b.start(t, p, c), p)
}
