package action_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// wrongSecret are served Secrets and copies into which nothing can be written.
func wrongSecret() []situation {
	const urlKeys = "kubernetes-secret-keys=username=username\npassword=password\nDATABASE_URL=url"
	without := func(key string) func(*stage) {
		return func(st *stage) { st.secret(func(o *corev1.Secret) { delete(o.Data, key) }) }
	}
	encoded := func(key string, encode func(string) string) func(*stage) {
		return func(st *stage) { served(key, encode("password: "+st.Password))(st) }
	}
	return []situation{
		{name: "not there", inputs: []string{"kubernetes-secret=absent"}, want: "read Secret \"$NAMESPACE/absent\": there is no such Secret", remedy: "check `kubernetes-secret` and `namespace`; if it was deleted, recreate it with its other keys"},
		{name: "immutable", set: func(st *stage) { st.secret(func(o *corev1.Secret) { o.Immutable = new(true) }) }, want: "it is immutable", remedy: "a new name"},
		{name: "without a password", set: without("password"), want: "it holds no password", remedy: "put the password of the role into it"},
		{name: "without a user name", set: without("username"), want: "it holds no user name", remedy: "put the user name"},
		{name: "mapped key that is missing", inputs: []string{urlKeys}, want: "key \"DATABASE_URL\", mapped to \"url\": the Secret has no such key", remedy: "correct the keys of the Secret, or their lines in `kubernetes-secret-keys`"},
		{name: "mapped key that is no URL", set: served("DATABASE_URL", "db.internal"), inputs: []string{urlKeys}, want: "it is no postgres:// or postgresql:// URL", remedy: "correct the keys of the Secret, or their lines in `kubernetes-secret-keys`"},
		{name: "mapped URL with another password", set: served("DATABASE_URL", "postgres://$ROLE:another-password@db.internal/app"), inputs: []string{urlKeys}, want: "hold different passwords", remedy: "correct the keys of the Secret, or their lines in `kubernetes-secret-keys`"},
		{name: "mapped URL with another user", set: served("DATABASE_URL", "postgres://somebody:$PASSWORD@db.internal/app"), inputs: []string{urlKeys}, want: "hold different user names", remedy: "correct the keys of the Secret, or their lines in `kubernetes-secret-keys`"},
		{name: "mapped URL that is ambiguous", set: served("DATABASE_URL", "postgres://$ROLE:p@ss@db.internal/app"), inputs: []string{urlKeys}, want: "have an unescaped", remedy: "correct the keys of the Secret, or their lines in `kubernetes-secret-keys`"},
		{name: "URL that is not mapped", set: served("DATABASE_URL", "postgres://$ROLE:$PASSWORD@db.internal/app"), want: "key \"DATABASE_URL\" holds the current password and is not mapped", remedy: "`DATABASE_URL=url`"},
		{name: "DSN that is not mapped", set: served("PGDSN", "host=db.internal user=$ROLE password=$PASSWORD"), want: "key \"PGDSN\" holds the current password", remedy: "`PGDSN=dsn`"},
		{name: "short password in a URL that is not mapped", set: func(st *stage) {
			st.must(st.SQL(st.Superuser, st.expand(`ALTER ROLE "$ROLE" PASSWORD 'qz7'`)))
			st.Cleanup(func() { st.must(st.SQL(st.Superuser, st.expand(`ALTER ROLE "$ROLE" PASSWORD '$PASSWORD'`))) })
			st.secret(func(o *corev1.Secret) {
				o.Data["password"], o.Data["DATABASE_URL"] = []byte("qz7"), []byte(st.expand("postgres://$ROLE:qz7@db.internal/app"))
			})
		}, want: "key \"DATABASE_URL\" holds the current password and is not mapped", remedy: "`DATABASE_URL=url`"},
		{name: "second key with the password", set: served("PGPASSWORD", "$PASSWORD"), want: "key \"PGPASSWORD\" holds", remedy: "`PGPASSWORD=password`"},
		{name: "password in a file", set: served("settings.json", `{"db": {"password": "$PASSWORD"}}`), want: "key \"settings.json\" holds", remedy: "keys of its own"},
		{name: "password in base64", set: encoded("settings", func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }), want: "key \"settings\" holds", remedy: "keys of its own"},
		{name: "password in hexadecimal", set: encoded("settings", func(text string) string { return fmt.Sprintf("%x", text) }), want: "key \"settings\" holds", remedy: "keys of its own"},
		{name: "password in an annotation", set: annotated("example.com/connection", "postgres://$ROLE:$PASSWORD@db.internal/app"), want: "annotation \"example.com/connection\" holds", remedy: "remove it from there"},
		{name: "list of PgBouncer's users with the verifier", set: listed("$PASSWORD"), want: "key \"userlist.txt\" holds a verifier of the current password and is not mapped", remedy: "docs/pgbouncer.md"},
		{name: "list of PgBouncer's users with another verifier", set: listed("another-password"), never: "verifier", warned: true},
		{name: "second key with the user name", inputs: alternating, set: served("PGUSER", "$ROLE"), want: "serve another user in .*: key \"PGUSER\" holds the name of the served one", remedy: "`password=password`, `username=username`, `PGUSER=username`"},
		{name: "epoch that is none", set: annotated("pgrotate.io/epoch", "many"), want: "which is no epoch", remedy: "remove the annotation"},
		{name: "time of rotation that is none", set: annotated("pgrotate.io/rotated-at", "yesterday"), want: "which is no time", remedy: "remove the annotation"},
		{name: "written by kubectl apply", set: annotated(corev1.LastAppliedConfigAnnotation, `{"stringData":{"password":"$PASSWORD"}}`), want: "was written by `kubectl apply`", warned: true},

		{name: "copy that is not there", inputs: []string{"kubernetes-secret-copies=$ELSEWHERE/absent"}, want: "\"$ELSEWHERE/absent\": there is no such Secret", remedy: "take it out of the copies"},
		{name: "copy in no namespace", inputs: []string{"kubernetes-secret-copies=$ELSEWHERE-too/reports"}, want: "\"$ELSEWHERE-too/reports\": there is no such Secret", remedy: "take it out of the copies"},
		{name: "copy of another credential", set: copied(func(o *corev1.Secret) { o.Data["password"] = []byte("another-password") }),
			inputs: []string{"kubernetes-secret-copies=$ELSEWHERE/reports-credentials"}, want: "it holds another password than", remedy: "put the served credential into it"},
		{name: "immutable copy", set: copied(func(o *corev1.Secret) { o.Immutable = new(true) }),
			inputs: []string{"kubernetes-secret-copies=$ELSEWHERE/reports-credentials"}, want: "it is immutable", remedy: "a new name"},
	}
}

// listed puts a list of PgBouncer's users into the served Secret, with a verifier
// of that password.
func listed(password string) func(*stage) {
	return func(st *stage) {
		verifier := secret.SCRAM(st.expand(password), "W22ZaJ0SNY7soEsUEjb6gQ==", 4096)
		st.secret(func(o *corev1.Secret) { o.Data["userlist.txt"] = fmt.Appendf(nil, "%q %q\n", st.Name, verifier) })
	}
}

// owned are Secrets that somebody else writes, too, as each of them marks it.
func owned() []situation {
	belongs := func(to string, set func(*stage), remedy string) situation {
		return situation{name: to, set: set, want: "it belongs to " + to + ", which may put the old password back", remedy: remedy + ".*`managed-secret: warn`"}
	}
	return []situation{
		belongs("External Secrets", labelled("reconcile.external-secrets.io/managed", "true"), "deletionPolicy: Retain"),
		belongs("Sealed Secrets", annotated("sealedsecrets.bitnami.com/managed", "true"), "--cascade=orphan"),
		belongs("Vault Secrets Operator", labelled("app.kubernetes.io/managed-by", "hashicorp-vso"), "rotate it there"),
		belongs("Helm", labelled("app.kubernetes.io/managed-by", "Helm"), "an existing Secret"),
		belongs("Argo CD", annotated("argocd.argoproj.io/tracking-id", "shop:/Secret:shop/postgres-credentials"), "ignoreDifferences"),
		{name: "Argo CD's label, or another's", set: labelled("app.kubernetes.io/instance", "shop"), want: "may belong to Argo CD, by the label", warned: true},
		belongs("Flux", labelled("kustomize.toolkit.fluxcd.io/name", "apps"), "ssa: IfNotPresent"),
		belongs("CloudNativePG", labelled("cnpg.io/cluster", "pg"), "change it in that Secret"),
		belongs("the Zalando operator", func(st *stage) {
			st.secret(func(o *corev1.Secret) { o.Labels = map[string]string{"application": "spilo", "cluster-name": "pg"} })
		}, "its own password rotation"),
		belongs("the Crunchy operator", labelled("postgres-operator.crunchydata.com/cluster", "hippo"), "emptying the keys"),
		belongs("Deployment/shop", func(st *stage) {
			shop, err := st.Cluster.AppsV1().Deployments(st.Name).Get(st.Context(), "shop", metav1.GetOptions{})
			st.must(err)
			st.secret(func(o *corev1.Secret) {
				o.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(shop, appsv1.SchemeGroupVersion.WithKind("Deployment"))}
			})
		}, "have that controller change the password"),
		belongs("whoever applies it as \"terraform\"", func(st *stage) {
			st.secret(func(*corev1.Secret) {})
			manifest := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":%q},"stringData":{"password":%q}}`, fixture.Secret, st.Password)
			_, err := st.Cluster.CoreV1().Secrets(st.Name).Patch(st.Context(), fixture.Secret, types.ApplyPatchType, manifest,
				metav1.PatchOptions{FieldManager: "terraform", Force: new(true)})
			st.must(err)
		}, "out of the manifest"),
	}
}

// wrongWorkloads are workloads that a restart would not give the new password.
func wrongWorkloads() []situation {
	made := func(objects ...runtime.Object) func(*stage) { return func(st *stage) { st.create(objects...) } }
	return []situation{
		{name: "StatefulSet that waits for its pods to be deleted", want: "restart statefulset/db-reader: .*OnDelete", remedy: "list in `workloads`",
			set: made(statefulSet("db-reader", func(s *appsv1.StatefulSetSpec) { s.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType }))},
		{name: "StatefulSet with a partition", want: "restart statefulset/db-reader: its partition is 1", remedy: "partition to 0",
			set: made(statefulSet("db-reader", func(s *appsv1.StatefulSetSpec) {
				s.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: new(int32(1))}
			}))},
		{name: "DaemonSet that waits for its pods to be deleted", want: "restart daemonset/db-reader: .*OnDelete", remedy: "list in `workloads`",
			set: made(daemonSet("db-reader", func(s *appsv1.DaemonSetSpec) { s.UpdateStrategy.Type = appsv1.OnDeleteDaemonSetStrategyType }))},
		{name: "paused Deployment", want: "restart deployment/db-reader: .*paused", remedy: "kubectl rollout resume",
			set: made(deployment("db-reader", 0, func(d *appsv1.Deployment) { d.Spec.Paused = true }))},
		{name: "unhealthy Deployment", want: "restart deployment/db-reader: it is not healthy before the start: 0 of 1 pods available", remedy: "mend it first",
			set: made(deployment("db-reader", 1, nil))},
		{name: "pod of its own", want: "restart pod/db-reader: it is a pod of its own", remedy: "put it under a Deployment",
			set: made(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "db-reader"}, Spec: reader("db-reader").Spec})},
		{name: "running Job", want: "restart job/db-reader: it is running", remedy: "wait until it has ended",
			set: made(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "db-reader"}, Spec: batchv1.JobSpec{Template: onceOnly(reader("db-reader"))}})},
		{name: "ReplicaSet of its own", want: "restart replicaset/db-reader: it belongs to no Deployment", remedy: "put its pods under a Deployment",
			set: made(&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "db-reader"}, Spec: appsv1.ReplicaSetSpec{
				Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db-reader"}}, Template: reader("db-reader")}})},
		{name: "password without the user name", inputs: alternating, want: "serve another user to deployment/db-reader: container reader takes the password without the user name", remedy: "mapped to `username`",
			set: made(deployment("db-reader", 0, func(d *appsv1.Deployment) { d.Spec.Template = keysAlone(d.Spec.Template, "password") }))},
		{name: "CronJob that takes the password without the user name", inputs: alternating, want: "serve another user to cronjob/db-reader: ", remedy: "`strategy: in-place`",
			set: made(&batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "db-reader"}, Spec: batchv1.CronJobSpec{Schedule: "0 0 30 2 *",
				JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: onceOnly(keysAlone(reader("db-reader"), "password"))}}}})},
		{name: "CronJob", want: "cronjob/db-reader is not restarted: its next run reads the new password", warned: true,
			set: made(&batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "db-reader"}, Spec: batchv1.CronJobSpec{Schedule: "0 0 30 2 *",
				JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: onceOnly(reader("db-reader"))}}}})},
		{name: "Deployment that Reloader restarts, too", want: "deployment/db-reader has the annotation \"reloader.stakater.com/auto\": its controller restarts it a second time", warned: true,
			set: made(deployment("db-reader", 0, func(d *appsv1.Deployment) {
				d.Annotations = map[string]string{"reloader.stakater.com/auto": "true"}
			}))},
		{name: "StatefulSet that may be the database", want: "statefulset/db-reader may be the database itself, which cannot be told by the address 127.0.0.1", warned: true,
			set: made(statefulSet("db-reader", func(s *appsv1.StatefulSetSpec) {
				s.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 5432}}
			}))},
		{name: "listed and not there", inputs: []string{"workloads=deployment/absent"}, want: "find deployment/absent .*there are deployment/shop", remedy: "correct `workloads` or `namespace`"},
		{name: "listed kind that cannot be restarted", inputs: []string{"workloads=cronjob/nightly"}, want: "a workload is a deployment, a statefulset or a daemonset", remedy: "correct `workloads`: `auto`, `none`, or one"},
		{name: "listed twice", inputs: []string{"workloads=deployment/shop\ndeploy/shop"}, want: "it is listed twice", remedy: "correct `workloads`: `auto`, `none`, or one"},
		{name: "listed without a kind", inputs: []string{"workloads=shop"}, want: "want \\[namespace/\\]kind/name", remedy: "correct `workloads`: `auto`, `none`, or one"},
		{name: "selector that chooses nobody", inputs: []string{"health-selector=app=absent"}, want: "app=absent.*there are none", remedy: "`health-selector`"},
	}
}

// wrongJournal are journals that nobody can go on with.
func wrongJournal() []situation {
	const damaged = "read the journal: "
	const remedy = "A damaged journal"
	onlyRotate := []string{"command=rotate"} // a plan does not lock, and does not know where it would
	record := func(pairs ...string) string {
		r := map[string]any{"version": 1, "strategy": "in-place", "base": "$ROLE", "secret_uid": "$UID", "lock_database": "$ROLE"}
		for _, pair := range pairs {
			name, value, _ := strings.Cut(pair, "=")
			r[name] = value
		}
		text, _ := json.Marshal(r)
		return string(text)
	}
	credential := func(user, password string) string {
		return fmt.Sprintf(`{"user":%q,"password":%q,"verifier":"SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy","keys":{"password":%q}}`, user, password, base64.StdEncoding.EncodeToString([]byte(password)))
	}
	open := func(change ...string) []string {
		return append([]string{"phase=forward", "mode=planned", "rotation-id=20260101-000000-abcdef", "epoch=1", "record=" + record(),
			"*pending=" + credential("$ROLE", "PendingPendingPending1"), "*previous=" + credential("$ROLE", "$PASSWORD")}, change...)
	}
	return []situation{
		{name: "truncated record", set: journal(open(`record={"version":1,"strat`)...), want: damaged + "read its record: unexpected end", remedy: remedy},
		{name: "truncated credential", set: journal(open(`*pending={"user":"$ROLE","passw`)...), want: damaged + "read \"pending\": it is not the JSON of a credential", remedy: remedy},
		{name: "a credential of nobody", set: journal(open(`*previous={"password":"PreviousPreviousPrevious"}`)...), want: damaged + ".*it names no role", remedy: remedy},
		{name: "bytes that are no base64", set: journal(open(`*previous={"user":"$ROLE","password":"PreviousPreviousPrevious","keys":{"password":"%%"}}`)...), want: damaged + ".*its key \"password\" is not base64", remedy: remedy},
		{name: "unknown phase", set: journal(open("phase=sideways")...), want: damaged + "it has the unknown phase \"sideways\"", remedy: remedy},
		{name: "unknown mode", set: journal(open("mode=hasty")...), want: damaged + "mode \"hasty\" with strategy \"in-place\" is not known", remedy: remedy},
		{name: "later version", set: journal(open(`record={"version":99}`)...), want: damaged + "it has version 99, this program writes version 1", remedy: remedy},
		{name: "no rotation id", set: journal(open("rotation-id=")...), want: damaged + "the rotation id is missing", remedy: remedy},
		{name: "no pending credential", set: journal(open("*pending=")...), want: damaged + "the pending credential is missing", remedy: remedy},
		{name: "no previous credential", set: journal(open("*previous=")...), want: damaged + "the previous credential is missing", remedy: remedy},
		{name: "closed with a credential", set: journal(open("phase=idle")...), want: damaged + "it is idle and holds a credential", remedy: remedy},
		{name: "epoch that is none", set: journal(open("epoch=99999999999999999999")...), want: damaged + "its epoch .* is no number of a claim", remedy: remedy},
		{name: "forged credential of another role", set: journal(open("*pending=" + credential("postgres", "PendingPendingPending1"))...), want: damaged + "its credentials are of another role", remedy: remedy},
		{name: "way back of an emergency", set: journal(open("mode=emergency", "phase=back")...), want: damaged + "it is of an emergency and goes back", remedy: remedy},
		{name: "rotation of another role", set: journal(open("record="+record("base=somebody"), "*pending="+credential("somebody", "PendingPendingPending1"), "*previous="+credential("somebody", "PreviousPreviousPrevious"))...),
			want: "resume the open rotation: its role is \"somebody\", this run has \"$ROLE\"", remedy: "check `postgres-role`"},
		{name: "rotation of another Secret", set: then(journal(open("record="+record("secret_uid=another"))...), annotated("pgrotate.io/epoch", "1")),
			want: "resume the open rotation: its Secret uid is \"another\"", remedy: "check `kubernetes-secret`"},
		{name: "rotation in another cluster", inputs: onlyRotate, set: journal(open("record=" + record("system_identifier=1"))...), want: "its database system identifier is \"1\"", remedy: "check `postgres-url`"},
		{name: "rotation from another database", inputs: onlyRotate, set: journal(open("record=" + record("lock_database=elsewhere"))...), want: "its lock database is \"elsewhere\"", remedy: "check the database in `postgres-url`"},
		{name: "immutable", set: then(journal(), func(st *stage) {
			_, err := st.Cluster.CoreV1().Secrets(st.Name).Patch(st.Context(), fixture.Journal, types.MergePatchType, []byte(`{"immutable":true}`), metav1.PatchOptions{})
			st.must(err)
		}), want: "write Secret \"$NAMESPACE/postgres-credentials-rotation\": it is immutable", remedy: "make it anew without `immutable: true`"},
		{name: "old copy of a journal", set: then(journal(open()...), annotated("pgrotate.io/epoch", "7")), want: "the journal is an old copy", remedy: "a backup was restored"},
	}
}

// wrongCluster are ways to the cluster that lead nowhere.
func wrongCluster() []situation {
	return []situation{
		{name: "API server that is not there", set: kubeconfig(func(c *rest.Config) { c.Host = "https://127.0.0.1:1" }), want: "127.0.0.1:1: connect: connection refused", remedy: "check `server` of the cluster in `kubeconfig`"},
		{name: "certificate of another authority", set: kubeconfig(func(c *rest.Config) { c.TLSClientConfig = rest.TLSClientConfig{} }), want: "certificate signed by unknown authority", remedy: "check `server` and `certificate-authority-data` of the cluster in `kubeconfig`"},
		{name: "token that has expired", set: kubeconfig(func(c *rest.Config) { c.BearerToken = "eyJhbGciOiJSUzI1NiJ9.e30.c2ln" }), want: "Unauthorized", remedy: "the token of the kubeconfig is wrong or has expired: mint one in the step before"},
		{name: "account without any right", set: kubeconfig(func(*rest.Config) {}), inputs: []string{"namespace=$ELSEWHERE"}, want: "read Secret \"$ELSEWHERE/postgres-credentials(-rotation)?\": .*forbidden", remedy: "grant the account in namespace \"$ELSEWHERE\": .*resourceNames: \\[\"postgres-credentials(\"\\], verbs: \\[\"get\", \"patch|-rotation\"\\], verbs: \\[\"get\", \"update)\"\\]"},
		{name: "namespace that is not there", inputs: []string{"namespace=$NAMESPACE-too"}, want: "read Secret \"$NAMESPACE-too/postgres-credentials\": there is no such Secret", remedy: "check `kubernetes-secret` and `namespace`"},
		{name: "pod of the database that is not there", inputs: []string{"postgres-pod=absent", "workloads=none"}, want: "there is no such pod", remedy: "kubectl get pods"},
	}
}

// missingRights are service accounts that lack one right each, and one that may
// open no tunnel.
func missingRights(st *stage) []situation {
	st.must(st.MakeJournal())
	rules, err := fixture.Rules()
	st.must(err)
	var all []situation
	var granted [][]rbacv1.PolicyRule
	for i, rule := range rules {
		for _, verb := range rule.Verbs {
			if rule.Resources[0] == "pods/portforward" || rule.Resources[0] == "pods" && verb == "get" {
				continue // asked for only where PostgreSQL is reached through a pod
			}
			named := `(, resourceNames: \[[^]]*\])?` // of the workload that is asked about
			if len(rule.ResourceNames) > 0 {
				named = fmt.Sprintf(`, resourceNames: \[%q\]`, rule.ResourceNames[0])
			}
			remedy := fmt.Sprintf(`grant the account in namespace "$NAMESPACE": .*resources: \[%q\]%s, verbs: \[[^]]*%q`, rule.Resources[0], named, verb)
			less := slices.Clone(rules)
			less[i].Verbs = slices.DeleteFunc(slices.Clone(rule.Verbs), func(v string) bool { return v == verb })
			granted = append(granted, less)
			all = append(all, situation{name: strings.TrimSpace(verb + " " + rule.Resources[0] + " " + strings.Join(rule.ResourceNames, "")),
				inputs: []string{"health-command=/healthcheck"}, want: fmt.Sprintf("cannot %[1]s resource %[2]q|may not ([a-z]+ or )*%[1]s", verb, rule.Resources[0]), remedy: remedy})
		}
	}
	granted = append(granted, slices.DeleteFunc(slices.Clone(rules), func(r rbacv1.PolicyRule) bool { return r.Resources[0] == "pods/portforward" }))
	all = append(all, situation{name: "pods/portforward", inputs: []string{"postgres-pod=db", "workloads=none"}, want: `open the tunnel to pod "$NAMESPACE/db": .*forbidden`,
		remedy: `resources: \["pods/portforward"\], verbs: \["create", "get"\]`})
	for i, token := range st.accounts(granted) {
		all[i].inputs = append(all[i].inputs, "kubeconfig="+st.accountConfig(func(c *rest.Config) { c.BearerToken = token }))
	}
	return all
}

// noJournal is a service account with the shipped rights, but not with the journal
// that is shipped with them.
func noJournal(st *stage) []situation {
	st.must(st.Cluster.CoreV1().Secrets(st.Name).Delete(st.Context(), fixture.Journal, metav1.DeleteOptions{}))
	rules, err := fixture.Rules()
	st.must(err)
	token, err := st.Grant("founder", rules)
	st.must(err)
	st.granted(token)
	return []situation{{name: "no journal", inputs: []string{"kubeconfig=" + st.accountConfig(func(c *rest.Config) { c.BearerToken = token })},
		want: "the account may not create it", remedy: "(?s)grant `create` on secrets, or create it once:.*name: " + fixture.Journal}}
}

// accounts makes one for each list of rules, and returns their tokens.
func (st *stage) accounts(granted [][]rbacv1.PolicyRule) []string {
	st.Helper()
	tokens, errs := make([]string, len(granted)), make([]error, len(granted))
	var making sync.WaitGroup
	for i, rules := range granted {
		making.Go(func() {
			tokens[i], errs[i] = st.Grant(fmt.Sprintf("lacking-%d", i), slices.DeleteFunc(rules, func(r rbacv1.PolicyRule) bool { return len(r.Verbs) == 0 }))
		})
	}
	making.Wait()
	st.must(errors.Join(errs...))
	for _, token := range tokens {
		st.granted(token)
	}
	return tokens
}

// granted waits until the API server goes by the rights of an account, of which
// each has one of these two.
func (st *stage) granted(token string) {
	st.Helper()
	account := rest.AnonymousClientConfig(st.Config)
	account.BearerToken = token
	client, err := kubernetes.NewForConfig(account)
	st.must(err)
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: st.Name}}
	for range 200 {
		answer, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(st.Context(), review, metav1.CreateOptions{})
		st.must(err)
		if slices.ContainsFunc(answer.Status.ResourceRules, func(r authorizationv1.ResourceRule) bool {
			return slices.Contains(r.Resources, "cronjobs") || slices.Contains(r.Resources, "pods/log")
		}) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	st.Fatal("the API server does not go by the Role")
}

// kubeconfig leads to the cluster as the service account, but for what change does.
func kubeconfig(change func(*rest.Config)) func(*stage) {
	return func(st *stage) { st.give("kubeconfig=" + st.accountConfig(change)) }
}

func (st *stage) accountConfig(change func(*rest.Config)) string {
	st.Helper()
	config := rest.AnonymousClientConfig(st.Config)
	config.BearerToken = st.Account
	change(config)
	c := api.NewConfig()
	c.Clusters["lab"] = &api.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	c.AuthInfos["account"] = &api.AuthInfo{Token: config.BearerToken}
	c.Contexts["lab"] = &api.Context{Cluster: "lab", AuthInfo: "account", Namespace: st.Name}
	c.CurrentContext = "lab"
	text, err := clientcmd.Write(*c)
	st.must(err)
	return string(text)
}

func then(all ...func(*stage)) func(*stage) {
	return func(st *stage) {
		for _, one := range all {
			one(st)
		}
	}
}

func annotated(name, text string) func(*stage) {
	return func(st *stage) {
		st.secret(func(o *corev1.Secret) { metav1.SetMetaDataAnnotation(&o.ObjectMeta, name, st.expand(text)) })
	}
}

func labelled(name, text string) func(*stage) {
	return func(st *stage) {
		st.secret(func(o *corev1.Secret) { metav1.SetMetaDataLabel(&o.ObjectMeta, name, text) })
	}
}

func copied(change func(*corev1.Secret)) func(*stage) {
	return func(st *stage) { st.edit(st.Elsewhere(), fixture.Copy, change) }
}

// secret changes the served Secret.
func (st *stage) secret(change func(*corev1.Secret)) { st.edit(st.Name, fixture.Secret, change) }

// edit changes a Secret, which is made anew afterwards.
func (st *stage) edit(namespace, name string, change func(*corev1.Secret)) {
	st.Helper()
	secrets := st.Cluster.CoreV1().Secrets(namespace)
	o, err := secrets.Get(st.Context(), name, metav1.GetOptions{})
	st.must(err)
	before := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: o.Labels, Annotations: o.Annotations}, Data: o.DeepCopy().Data}
	before = before.DeepCopy()
	st.Cleanup(func() {
		ctx := context.WithoutCancel(st.Context())
		st.must(secrets.Delete(ctx, name, metav1.DeleteOptions{}))
		_, err := secrets.Create(ctx, before, metav1.CreateOptions{})
		st.must(err)
	})
	change(o)
	_, err = secrets.Update(st.Context(), o, metav1.UpdateOptions{})
	st.must(err)
}

// journal makes one of NAME=value, an annotation or, with an asterisk before it,
// a key. $UID is the served Secret's.
func journal(pairs ...string) func(*stage) {
	return func(st *stage) {
		served, err := st.Cluster.CoreV1().Secrets(st.Name).Get(st.Context(), fixture.Secret, metav1.GetOptions{})
		st.must(err)
		o := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: fixture.Journal, Annotations: map[string]string{}}, StringData: map[string]string{}}
		for _, pair := range pairs {
			name, text, _ := strings.Cut(st.expand(strings.ReplaceAll(pair, "$UID", string(served.UID))), "=")
			if key, ok := strings.CutPrefix(name, "*"); ok {
				o.StringData[key] = text
				continue
			}
			o.Annotations["pgrotate.io/"+name] = text
		}
		journals := st.Cluster.CoreV1().Secrets(st.Name)
		_, err = journals.Create(st.Context(), o, metav1.CreateOptions{})
		st.must(err)
		st.Cleanup(func() { st.must(journals.Delete(context.WithoutCancel(st.Context()), o.Name, metav1.DeleteOptions{})) })
	}
}

// reader is a pod that reads the Secret and that no node takes.
func reader(name string) corev1.PodTemplateSpec {
	ref := &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: fixture.Secret}}
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}}, Spec: corev1.PodSpec{
		NodeSelector: map[string]string{"no": "node"},
		Containers: []corev1.Container{{Name: "reader", Image: "pgrotate.lab/service:1", ImagePullPolicy: corev1.PullNever,
			EnvFrom: []corev1.EnvFromSource{{SecretRef: ref}}}},
	}}
}

// keysAlone has the container of a template take these keys of the served Secret,
// and no other.
func keysAlone(template corev1.PodTemplateSpec, keys ...string) corev1.PodTemplateSpec {
	c := &template.Spec.Containers[0]
	c.EnvFrom = nil
	for _, key := range keys {
		from := &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: fixture.Secret}, Key: key}
		c.Env = append(c.Env, corev1.EnvVar{Name: "DB_" + strings.ToUpper(key), ValueFrom: &corev1.EnvVarSource{SecretKeyRef: from}})
	}
	return template
}

func onceOnly(template corev1.PodTemplateSpec) corev1.PodTemplateSpec {
	template.Spec.RestartPolicy = corev1.RestartPolicyNever
	return template
}

func deployment(name string, replicas int32, change func(*appsv1.Deployment)) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}, Template: reader(name)}}
	if change != nil {
		change(d)
	}
	return d
}

func statefulSet(name string, change func(*appsv1.StatefulSetSpec)) *appsv1.StatefulSet {
	s := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.StatefulSetSpec{
		Replicas: new(int32(0)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}, Template: reader(name)}}
	if change != nil {
		change(&s.Spec)
	}
	return s
}

func daemonSet(name string, change func(*appsv1.DaemonSetSpec)) *appsv1.DaemonSet {
	d := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DaemonSetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}, Template: reader(name)}}
	if change != nil {
		change(&d.Spec)
	}
	return d
}

// create makes objects in the namespace, waits for the pod that a controller
// makes for one, and removes both afterwards.
func (st *stage) create(objects ...runtime.Object) {
	st.Helper()
	for _, o := range objects {
		name, pods, remove := st.createOne(o)
		selector := metav1.ListOptions{LabelSelector: "app=" + name}
		st.await("its pod", pods, selector)
		st.Cleanup(func() {
			background := metav1.DeletePropagationBackground
			st.must(remove(context.WithoutCancel(st.Context()), name, metav1.DeleteOptions{PropagationPolicy: &background, GracePeriodSeconds: new(int64(0))}))
			st.await("the end of its pods", 0, selector)
		})
	}
}

type remove func(ctx context.Context, name string, options metav1.DeleteOptions) error

func (st *stage) createOne(o runtime.Object) (name string, pods int, gone remove) {
	st.Helper()
	ctx, apps, batch := st.Context(), st.Cluster.AppsV1(), st.Cluster.BatchV1()
	var err error
	switch o := o.(type) {
	case *appsv1.Deployment:
		name, pods, gone = o.Name, int(*o.Spec.Replicas), apps.Deployments(st.Name).Delete
		_, err = apps.Deployments(st.Name).Create(ctx, o, metav1.CreateOptions{})
	case *appsv1.StatefulSet:
		name, gone = o.Name, apps.StatefulSets(st.Name).Delete
		_, err = apps.StatefulSets(st.Name).Create(ctx, o, metav1.CreateOptions{})
	case *appsv1.DaemonSet:
		name, gone = o.Name, apps.DaemonSets(st.Name).Delete
		_, err = apps.DaemonSets(st.Name).Create(ctx, o, metav1.CreateOptions{})
	case *appsv1.ReplicaSet:
		name, pods, gone = o.Name, 1, apps.ReplicaSets(st.Name).Delete
		_, err = apps.ReplicaSets(st.Name).Create(ctx, o, metav1.CreateOptions{})
	case *batchv1.Job:
		name, pods, gone = o.Name, 1, batch.Jobs(st.Name).Delete
		_, err = batch.Jobs(st.Name).Create(ctx, o, metav1.CreateOptions{})
	case *batchv1.CronJob:
		name, gone = o.Name, batch.CronJobs(st.Name).Delete
		_, err = batch.CronJobs(st.Name).Create(ctx, o, metav1.CreateOptions{})
	case *corev1.Pod:
		name, gone = o.Name, st.Cluster.CoreV1().Pods(st.Name).Delete
		_, err = st.Cluster.CoreV1().Pods(st.Name).Create(ctx, o, metav1.CreateOptions{})
	default:
		st.Fatalf("create a %T", o)
	}
	st.must(err)
	return name, pods, gone
}

func (st *stage) await(what string, pods int, selector metav1.ListOptions) {
	st.Helper()
	for range 600 {
		list, err := st.Cluster.CoreV1().Pods(st.Name).List(context.WithoutCancel(st.Context()), selector)
		st.must(err)
		if len(list.Items) == pods {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	st.Fatalf("waited for %s in vain", what)
}
