package action_test

// wrongInputs are refused before any server is asked.
func wrongInputs() []situation {
	given := func(name, want, remedy string, inputs ...string) situation {
		return situation{name: name, inputs: inputs, want: want, remedy: remedy}
	}
	return []situation{
		given("unknown command", "input `command`: \"rotat\" is not one of: rotate, plan", "", "command=rotat"),
		given("unknown mode", "input `mode`: \"urgent\" is not one of", "", "mode=urgent"),
		given("unknown strategy", "input `strategy`: \"both\" is not one of", "", "strategy=both"),
		given("emergency without a reason", "input `reason`: it is missing", "say what happened", "mode=emergency"),
		given("an emergency that goes back", "input `mode`: an emergency never goes back", "leave `mode` out", "command=rollback", "mode=emergency", "reason=leaked"),
		given("short password", "input `password-length`: \"8\" is not a whole number from 24", "", "password-length=8"),
		given("age without a unit", "input `minimum-age`: \"80\" is not a duration with a unit", "", "minimum-age=80"),
		given("negative duration", "input `keep-previous`: \"-1h\" is not a duration", "", "keep-previous=-1h"),
		given("yes for true", "input `job-summary`: \"yes\" is neither `true` nor `false`", "", "job-summary=yes"),
		given("too little time", "input `timeout`: 5m0s is too short for a rollout of 5m0s and the way back", "raise it", "timeout=5m"),
		given("unknown reaction to a failure", "input `on-failure`: \"continue\" is not one of", "", "on-failure=continue"),
		given("unknown reaction to drift", "input `on-drift`: \"ignore\" is not one of", "", "on-drift=ignore"),
		given("unknown reaction to an owner", "input `managed-secret`: \"ignore\" is not one of", "", "managed-secret=ignore"),
		given("unknown sessions", "input `terminate-sessions`: \"all\" is not one of", "", "terminate-sessions=all"),
		given("unknown logs", "input `print-logs`: \"yes\" is not one of", "", "print-logs=yes"),
		given("too many log lines", "input `log-lines`: \"1000000\" is not a whole number", "", "log-lines=1000000"),
		given("auto in a list", "input `workloads`: \"auto\" stands alone", "", "workloads=auto\ndeployment/shop"),
		given("malformed selector", "input `health-selector`: read the selector", "", "health-selector=tier in backend"),

		given("no way to PostgreSQL", "input `postgres-url`: neither it nor `postgres-pod` is set", "admin connection", "postgres-url="),
		given("no URL", "input `postgres-url`: .*neither a URL", "", "postgres-url=db.internal"),
		given("unknown sslmode", "input `postgres-url`: .*sslmode is none of", "", "postgres-url=postgres://admin@db.internal/app?sslmode=nonsense"),
		given("parameter that is not supported", "input `postgres-url`: .*a parameter that is not supported", "", "postgres-url=postgres://admin@db.internal/app?application=x"),
		given("unescaped @", "input `postgres-url`: .*unescaped @", "", "postgres-url=postgres://admin:p@ss@db.internal/app"),
		given("certificate that is none", "input `postgres-ca`: it is neither PEM nor base64", "BEGIN and END", "postgres-ca=nonsense"),
		given("certificate that holds none", "input `postgres-ca`: it holds no certificate", "BEGIN and END", "postgres-ca=-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
		given("replica without a port", "input `postgres-replicas`: \"db-2.internal\" is not host:port", "one host:port per line", "postgres-replicas=db-2.internal"),
		given("malformed pod", "input `postgres-pod`: read the pod .*is no port", "", "postgres-pod=db:99999"),
		given("twin of nobody", "input `postgres-alternate-role`: it is set, and `postgres-role` is not", "set `postgres-role`", "postgres-alternate-role=app_b"),
		given("twin of itself", "input `postgres-alternate-role`: it is the same", "different names", "postgres-role=app", "postgres-alternate-role=app"),

		given("mapping without a property", "input `kubernetes-secret-keys`: line 1: want KEY=property", "", "kubernetes-secret-keys=password"),
		given("unknown property", "input `kubernetes-secret-keys`: line 1: key \"password\" has an unknown property", "", "kubernetes-secret-keys=password=passwort\nurl=url"),
		given("key mapped twice", "input `kubernetes-secret-keys`: .*mapped twice", "", "kubernetes-secret-keys=a=url\na=dsn"),
		given("no key for the user name", "input `kubernetes-secret-keys`: no key is mapped to \"username\"", "", "kubernetes-secret-keys=password=password"),
		given("malformed copy", "input `kubernetes-secret-copies`: \"Bad_Name\": want \\[namespace/\\]name", "", "kubernetes-secret-copies=Bad_Name"),
		given("copy that is the Secret itself", "input `kubernetes-secret-copies`: .*is the served Secret itself", "", "kubernetes-secret-copies=postgres-credentials"),
		given("copy that is the journal", "input `kubernetes-secret-copies`: .*is the journal", "", "kubernetes-secret-copies=postgres-credentials-rotation"),
		given("copy named twice", "input `kubernetes-secret-copies`: .*named twice", "", "kubernetes-secret-copies=other\nother"),
		given("no kubeconfig", "input `kubeconfig`: .*no kubeconfig was given", "contents of a kubeconfig", "kubeconfig="),
		given("kubeconfig that is none", "input `kubeconfig`: .*neither YAML nor base64", "", "kubeconfig=%%%"),
		given("kubeconfig that was cut off", "input `kubeconfig`: .*no contexts", "", "kubeconfig=apiVersion: v1"),
		given("context that is not there", "input `kubeconfig`: choose context \"prod\" .*it is not there", "", "kube-context=prod"),
		given("workload of another kind", "input `workloads`: .*\"job/import\": a workload is a deployment", "namespace/\\]kind/name per line", "workloads=job/import"),

		given("no token", "input `github-token`: it is missing", "fine-grained personal access token", "github-token="),
		given("secret's name with a digit first", "input `github-secrets`: secret \"9WRONG\"", "a line is", "github-secrets=9WRONG"),
		given("secret's name that GitHub keeps", "input `github-secrets`: .*names that start with GITHUB_", "", "github-secrets=GITHUB_PASSWORD"),
		given("secret with an unknown property", "input `github-secrets`: .*is no property", "a line is", "github-secrets=PASSWORD=passwort"),
		given("secret named twice", "input `github-secrets`: .*is named twice", "", "github-secrets=PASSWORD\npassword"),
		given("secret in no repository", "input `github-secrets`: .*its target is not one", "a line is", "github-secrets=a/b/c PASSWORD"),
		given("secret with the URL of no key", "input `github-secrets`: .*to hold the url, and the served Secret has no key", "map a key", "github-secrets=DATABASE_URL=url"),
		given("API without https", "input `github-api-url`: .*would carry the token unencrypted", "use https", "github-api-url=http://github.example"),
		given("twins and a password alone", "input `github-secrets`: .*without the user name", "property `username`", "strategy=alternate"),
	}
}
