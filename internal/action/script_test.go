package action_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/pgrotate/pgrotate/internal/action"
	"github.com/pgrotate/pgrotate/internal/github/githubtest"
	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pgrotate": runMain, "pgrotate-resume": runMain})
}

// runMain is main, under the name by which a script calls it.
func runMain() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(action.Main(ctx, os.Args, os.Getenv, os.Stdout))
}

// TestInputs runs the scripts that touch nothing outside the process.
func TestInputs(t *testing.T) {
	commands := runnerCommands()
	commands["exits"], commands["state"] = exits, handOver
	testscript.Run(t, testscript.Params{Dir: "testdata/inputs", Setup: actsAsRunner, Cmds: commands})
}

// TestScenarios runs the program against real servers. Each script has a role,
// a database, a namespace and a GitHub of its own, and these commands:
//
//	exits CODE COMMAND...          run a command that ends with this exit code
//	deploy NAME [VARIABLE=VALUE]   run a service that reads the Secret, in one pod or in pods=N; $PASSWORD is the first password. $ELSEWHERE/NAME reads the copy
//	reads NAME KEY...                a Deployment without pods whose container takes these keys, each by itself
//	copy KEY=VALUE                 make the namespace $ELSEWHERE with the Secret reports-credentials, a copy that has this key, too
//	remember                       note every store
//	unchanged                      no store was written since
//	restored                       every byte is back
//	consistent                     all places hold one password that works, and the journal is closed
//	alter PASSWORD                 somebody changes the role's password in the database
//	accepts|refuses PASSWORD [ROLE [ADDRESS]] what the database says to it, and to a client at an address of this machine; the role is $ROLE unless it is named
//	serves ROLE                    the served Secret has this user name
//	ready NAME                     the Deployment has ready pods of its newest template only
//	alone NAME                     and no pod from before is left
//	mark NAME REGEXP               the restart mark of its template
//	secret KEY=VALUE               add a key to the served Secret
//	label NAME=VALUE               put a label on the served Secret
//	aged DURATION                  the served Secret was rotated so long ago
//	github METHOD STATUS [TIMES]   GitHub answers so from now on, or so many times
//	share NAME REPOSITORY...       make a secret of the organization acme for these repositories
//	shared NAME REPOSITORY...      exactly these may use it
//	on-github PLACE NAME           the secret there holds the served password
//	limited METHOD STATUS SECONDS TIMES GitHub answers so often that there were too many requests, and for how long
//	trust                          move to the server that asks nobody for a password
//	pod                            move to a server that runs in the pod postgres-0 of the namespace, on the node with the address $NODE
//	pooler list|query              run PgBouncer in a Deployment before the server, at the port $POOLER: with a list that it makes of the served Secret, or with auth_query
//	refused [N]                    so many logins of the services were refused, or some
//	standby DELAY                  give that server a standby that replays so much later, at the host:port $STANDBY
//	replay pause|resume            let it replay, or not
//	replayed                       it has the password of the primary
//	account [RESOURCE]             go on with what deploy/kubernetes.yaml makes, here and in the namespace of the copy: the journal, and a
//	                               service account with those rights, and none to the resource
//	killed N METHOD PATH           run pgrotate and kill it at its Nth such request to the API server
//	held N METHOD PATH             run pgrotate in the background and stop it there
//	released CODE                  let it go on and wait for its exit code
//	together N                     run pgrotate N times at once
//	inputs FILE VARIABLE           set an input of several lines
//	step, post, hidden             see runnerCommands
//	state FILE                     set what the runner hands to the post step, from what the main step saved in FILE
//	session NAME                   open a session with the served password that calls itself so; $SERVER is host:port of the database,
//	                               $DATABASE_POD a pod that leads there, $ADMINISTRATOR the kubeconfig of who may go through it
//	alive NAME                     that session goes on
//	url-follows KEY REST           the key and the environment secret of that name hold the URL of the served role and password and this rest
func TestScenarios(t *testing.T) {
	lab := labtest.Open(t)
	commands := scenarioCommands()
	maps.Copy(commands, runnerCommands())
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			made, err := fixture.New(context.Background(), lab)
			env.Defer(func() { _ = made.Close() })
			if err != nil {
				return err
			}
			if err := actsAsRunner(env); err != nil {
				return err
			}
			env.Values["platform"] = &platform{Platform: made}
			env.Setenv("PASSWORD", made.Password)
			env.Setenv("ROLE", made.Name)
			env.Setenv("TWIN", made.Twin())
			env.Setenv("ELSEWHERE", made.Elsewhere())
			env.Setenv("PORT", made.Port())
			env.Setenv("SERVER", (&platform{Platform: made}).server())
			env.Setenv("ADMINISTRATOR", lab.Kubeconfig)
			env.Setenv("DATABASE_POD", lab.PostgresPod)
			inputs, err := made.Inputs()
			for name, value := range inputs {
				env.Setenv(name, value)
			}
			return err
		},
		Cmds: commands,
	})
}

func scenarioCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"exits": exits, "deploy": deploy, "reads": reads, "alter": alter, "remember": remember, "unchanged": judged((*platform).unchanged), "restored": judged((*platform).restored),
		"consistent": judged((*platform).consistent), "accepts": login(true), "refuses": login(false), "serves": serves, "ready": ready, "alone": alone, "mark": mark,
		"secret": addKey, "copy": makeCopy, "label": label, "aged": aged, "github": fault, "asked": asked, "limited": limited, "trust": trust, "pod": pod, "pooler": pooler, "refused": refused, "standby": standby, "replay": replay, "replayed": judged((*platform).replayed), "account": account, "killed": killed, "held": held, "released": released, "together": together,
		"share": share, "shared": sharedWith, "on-github": onGitHub,
		"inputs": several, "state": handOver, "url-follows": urlFollows, "session": openSession, "alive": alive,
	}
}

func of(ts *testscript.TestScript) *platform { return ts.Value("platform").(*platform) }

func judged(judge func(*platform) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, _ []string) {
		p := of(ts)
		err := judge(p)
		if violations := p.GitHub.Violations(); len(violations) > 0 {
			ts.Fatalf("requests that GitHub does not describe: %v", violations)
		}
		if neg && err == nil {
			ts.Fatalf("unexpectedly so")
		}
		if !neg {
			ts.Check(err)
		}
	}
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	code := 0
	var ended *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &ended) {
		code = ended.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d", code)
	}
}

func deploy(ts *testscript.TestScript, _ bool, args []string) {
	pods, extra := int32(1), []corev1.EnvVar(nil)
	for _, pair := range args[1:] {
		name, value, _ := strings.Cut(pair, "=")
		if name == "pods" {
			n, err := strconv.ParseInt(value, 10, 32)
			ts.Check(err)
			pods = int32(n)
			continue
		}
		extra = append(extra, corev1.EnvVar{Name: name, Value: value})
	}
	ts.Check(of(ts).Deploy(args[0], pods, extra...))
}

// reads makes a Deployment without pods whose container takes these keys, each by
// itself.
func reads(ts *testscript.TestScript, _ bool, args []string) {
	p := of(ts)
	d := deployment(args[0], 0, func(d *appsv1.Deployment) { d.Spec.Template = keysAlone(d.Spec.Template, args[1:]...) })
	_, err := p.Cluster.AppsV1().Deployments(p.Name).Create(context.Background(), d, metav1.CreateOptions{})
	ts.Check(err)
}

func alter(ts *testscript.TestScript, _ bool, args []string) {
	p := of(ts)
	ts.Check(p.SQL(p.Superuser, `ALTER ROLE "`+p.Name+`" PASSWORD '`+args[0]+`'`))
}

func remember(ts *testscript.TestScript, _ bool, _ []string) {
	before, err := of(ts).Look()
	ts.Check(err)
	of(ts).before = before
}

func login(want bool) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		role, address := of(ts).Name, ""
		if len(args) > 1 {
			role = args[1]
		}
		if len(args) > 2 {
			address = args[2]
		}
		got, err := of(ts).AcceptsFrom(role, args[0], address)
		ts.Check(err)
		if got != want {
			ts.Fatalf("the database accepts it: %v", got)
		}
	}
}

func serves(ts *testscript.TestScript, _ bool, args []string) {
	now, err := of(ts).Look()
	ts.Check(err)
	if now.User() != args[0] {
		ts.Fatalf("role %q is served", now.User())
	}
}

func ready(ts *testscript.TestScript, _ bool, args []string) { ts.Check(of(ts).Ready(args[0])) }

func alone(ts *testscript.TestScript, _ bool, args []string) { ts.Check(of(ts).Alone(args[0])) }

func mark(ts *testscript.TestScript, _ bool, args []string) {
	carried, err := of(ts).Mark(args[0])
	ts.Check(err)
	if !regexp.MustCompile(args[1]).MatchString(carried) {
		ts.Fatalf("the template has %q", carried)
	}
}

func addKey(ts *testscript.TestScript, _ bool, args []string) {
	p := of(ts)
	ts.Check(p.AddKey(p.Name, fixture.Secret, args[0]))
}

func label(ts *testscript.TestScript, _ bool, args []string) {
	name, value, _ := strings.Cut(args[0], "=")
	describe(ts, "labels", name, value)
}

func aged(ts *testscript.TestScript, _ bool, args []string) {
	age, err := time.ParseDuration(args[0])
	ts.Check(err)
	describe(ts, "annotations", "pgrotate.io/rotated-at", time.Now().Add(-age).UTC().Format(time.RFC3339))
}

// describe sets a label or an annotation of the served Secret.
func describe(ts *testscript.TestScript, kind, name, value string) {
	p := of(ts)
	_, err := p.Cluster.CoreV1().Secrets(p.Name).Patch(context.Background(), fixture.Secret, types.MergePatchType,
		fmt.Appendf(nil, `{"metadata":{%q:{%q:%q}}}`, kind, name, value), metav1.PatchOptions{})
	ts.Check(err)
}

func makeCopy(ts *testscript.TestScript, _ bool, args []string) {
	p := of(ts)
	ts.Check(p.MakeSecret(p.Elsewhere(), fixture.Copy))
	ts.Check(p.AddKey(p.Elsewhere(), fixture.Copy, args[0]))
}

func several(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[1], ts.ReadFile(args[0]))
}

// handOver hands the last saved value of each name over, as the runner does.
func handOver(ts *testscript.TestScript, _ bool, args []string) {
	saved := map[string]string{}
	ts.Check(parsePairs(ts.ReadFile(args[0]), saved))
	for name, value := range saved {
		ts.Setenv("STATE_"+name, value)
	}
}

func urlFollows(ts *testscript.TestScript, _ bool, args []string) {
	p := of(ts)
	now, err := p.Look()
	ts.Check(err)
	want := fmt.Sprintf("postgres://%s:%s@%s", now.User(), now.Served(), args[1])
	inGitHub, _ := p.GitHub.Secret(fixture.Repository+"@production", args[0])
	if string(now.Secret.Data[args[0]]) != want || inGitHub != want {
		ts.Fatalf("%s does not hold the URL with what is served", args[0])
	}
}

func fault(ts *testscript.TestScript, _ bool, args []string) {
	status, err := strconv.Atoi(args[1])
	ts.Check(err)
	times := -1
	if len(args) > 2 {
		times, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	path := ""
	if len(args) > 3 {
		path = args[3]
	}
	of(ts).GitHub.Fault(githubtest.Fault{Effect: githubtest.Answer, Method: args[0], Path: path, Times: times, Status: status,
		Header: map[string]string{"X-Accepted-GitHub-Permissions": "secrets=write"}, Body: `{"message":"no","documentation_url":"https://docs.github.com"}`})
}

// asked demands so many requests to GitHub that match.
func asked(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	matches := regexp.MustCompile(args[1]).MatchString
	got := slices.DeleteFunc(of(ts).GitHub.Requests(), func(r string) bool { return !matches(r) })
	if len(got) != want {
		ts.Fatalf("GitHub has got %d requests that match %q, want %d: %q", len(got), args[1], want, got)
	}
}

func limited(ts *testscript.TestScript, _ bool, args []string) {
	status, err := strconv.Atoi(args[1])
	ts.Check(err)
	times, err := strconv.Atoi(args[3])
	ts.Check(err)
	limit := githubtest.SecondaryLimit(status, args[2], times)
	limit.Method = args[0]
	of(ts).GitHub.Fault(limit)
}

func trust(ts *testscript.TestScript, _ bool, _ []string) {
	p := of(ts)
	leave(ts, p)
	p.Superuser = p.Lab.PostgresTrustURL
	ts.Check(p.MakeRole(p.Superuser))
	ts.Setenv("INPUT_POSTGRES_URL", p.AdminURL())
	ts.Setenv("SUPERUSER_URL", p.Superuser)
}

// leave has the role dropped that is on the present server.
func leave(ts *testscript.TestScript, p *platform) {
	left := p.Superuser
	ts.Defer(func() { ts.Check(p.DropRole(left)) })
}

func pod(ts *testscript.TestScript, _ bool, _ []string) {
	p := of(ts)
	leave(ts, p)
	node, err := p.RunServer()
	ts.Check(err)
	ts.Setenv("NODE", node)
	ts.Setenv("INPUT_POSTGRES_URL", p.AdminURL())
	ts.Setenv("INPUT_POSTGRES_POD", p.Name+"/"+fixture.ServerPod+":"+p.Port())
}

func pooler(ts *testscript.TestScript, _ bool, args []string) {
	port, err := of(ts).RunPooler(args[0] == "query")
	ts.Check(err)
	ts.Setenv("POOLER", port)
}

func refused(ts *testscript.TestScript, _ bool, args []string) {
	n, err := of(ts).Refused()
	ts.Check(err)
	if len(args) == 0 && n == 0 || len(args) > 0 && strconv.Itoa(n) != args[0] {
		ts.Fatalf("%d logins were refused", n)
	}
}

func standby(ts *testscript.TestScript, _ bool, args []string) {
	p := of(ts)
	ts.Check(p.RunStandby(args[0]))
	ts.Setenv("STANDBY", hostOf(p.Standby))
}

func replay(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(of(ts).Replay(args[0] == "resume"))
}

func account(ts *testscript.TestScript, _ bool, args []string) {
	p := of(ts)
	ts.Check(p.OpenAccount(args...))
	config, err := p.AccountKubeconfig()
	ts.Check(err)
	ts.Setenv("INPUT_KUBECONFIG", config)
}

// process is the program as a script started it.
type process struct {
	cmd  *exec.Cmd
	out  bytes.Buffer // read it after done
	done chan struct{}
}

// start starts the program with the script's environment, and with more.
func start(ts *testscript.TestScript, more ...string) *process {
	path, err := lookPath(ts.Getenv("PATH"), "pgrotate")
	ts.Check(err)
	run := &process{cmd: exec.Command(path), done: make(chan struct{})}
	run.cmd.Stdout, run.cmd.Stderr, run.cmd.Dir = &run.out, &run.out, ts.Getenv("WORK")
	run.cmd.Env = []string{"PATH=" + ts.Getenv("PATH")}
	for _, name := range []string{"GITHUB_API_URL", "GITHUB_REPOSITORY", "GITHUB_STATE"} {
		run.cmd.Env = append(run.cmd.Env, name+"="+ts.Getenv(name))
	}
	for _, name := range action.InputNames() {
		key := "INPUT_" + strings.ReplaceAll(strings.ToUpper(name), "-", "_")
		run.cmd.Env = append(run.cmd.Env, key+"="+ts.Getenv(key))
	}
	run.cmd.Env = append(run.cmd.Env, more...)
	ts.Check(run.cmd.Start())
	go func() {
		defer close(run.done)
		_ = run.cmd.Wait()
	}()
	return run
}

func lookPath(path, name string) (string, error) {
	for _, folder := range strings.Split(path, ":") {
		if _, err := os.Stat(folder + "/" + name); err == nil {
			return folder + "/" + name, nil
		}
	}
	return "", fmt.Errorf("no %q in $PATH", name)
}

func gated(ts *testscript.TestScript, args []string, meet func() bool) (g *gate, kubeconfig string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	config := of(ts).Config
	if of(ts).Account != "" {
		config = rest.AnonymousClientConfig(config)
		config.BearerToken = of(ts).Account
	}
	g, err = newGate(config, n, args[1], args[2], meet)
	ts.Check(err)
	ts.Defer(g.server.Close)
	text, err := g.kubeconfig(of(ts).Name)
	ts.Check(err)
	return g, "INPUT_KUBECONFIG=" + text
}

func killed(ts *testscript.TestScript, _ bool, args []string) {
	started := make(chan *process, 1)
	g, kubeconfig := gated(ts, args, func() bool {
		run := <-started
		_ = run.cmd.Process.Kill()
		<-run.done
		return false
	})
	run := start(ts, kubeconfig)
	started <- run
	<-run.done
	select {
	case <-g.reached:
	default:
		ts.Fatalf("it ended before %s:\n%s", g, &run.out)
	}
}

func held(ts *testscript.TestScript, _ bool, args []string) {
	release := make(chan struct{})
	g, kubeconfig := gated(ts, args, func() bool {
		<-release
		return true
	})
	run := start(ts, kubeconfig, "GITHUB_RUN_ID=1001", "GITHUB_SERVER_URL=https://github.example")
	select {
	case <-g.reached:
	case <-run.done:
		ts.Fatalf("it ended before %s:\n%s", g, &run.out)
	}
	of(ts).release = func() *process {
		close(release)
		<-run.done
		return run
	}
}

func released(ts *testscript.TestScript, _ bool, args []string) {
	run := of(ts).release()
	if code := strconv.Itoa(run.cmd.ProcessState.ExitCode()); code != args[0] {
		ts.Fatalf("it ended with exit code %s:\n%s", code, &run.out)
	}
}

func together(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	runs := make([]*process, n)
	report := func(i int) string { return fmt.Sprintf("%s/report-%d.json", ts.Getenv("WORK"), i) }
	for i := range runs {
		runs[i] = start(ts, fmt.Sprintf("GITHUB_RUN_ID=%d", 2000+i), "INPUT_REPORT="+report(i))
	}
	count, rotated := map[int]int{}, 0
	for i, run := range runs {
		<-run.done
		count[run.cmd.ProcessState.ExitCode()]++
		if strings.Contains(ts.ReadFile(report(i)), `"status": "rotated"`) {
			rotated++
		}
	}
	if rotated != 1 || count[0]+count[3] != n {
		for _, run := range runs {
			ts.Logf("%s", &run.out)
		}
		ts.Fatalf("%d of %d runs rotated, exit codes %v", rotated, n, count)
	}
}
