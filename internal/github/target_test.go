package github

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for line, want := range map[string]Target{
		"NAME":                            {Repository, "acme", "shop", "", "NAME", Password},
		"  _n4me  ":                       {Repository, "acme", "shop", "", "_n4me", Password},
		"NAME=url":                        {Repository, "acme", "shop", "", "NAME", URL},
		"other/re.po-1 NAME=username":     {Repository, "other", "re.po-1", "", "NAME", Username},
		"other/repo@production NAME=dsn":  {Environment, "other", "repo", "production", "NAME", DSN},
		"@production NAME=verifier":       {Environment, "acme", "shop", "production", "NAME", Verifier},
		"@eu/west  NAME":                  {Environment, "acme", "shop", "eu/west", "NAME", Password},
		"@my env@2 = x\tNAME=password":    {Environment, "acme", "shop", "my env@2 = x", "NAME", Password},
		"octo_corp/repo NAME":             {Repository, "octo_corp", "repo", "", "NAME", Password},
		"org:acme NAME":                   {Organization, "acme", "", "", "NAME", Password},
		"dependabot:acme/shop NAME":       {Dependabot, "acme", "shop", "", "NAME", Password},
		"dependabot: NAME":                {Dependabot, "acme", "shop", "", "NAME", Password},
		"acme/shop@..hidden NAME_GITHUB_": {Environment, "acme", "shop", "..hidden", "NAME_GITHUB_", Password},
	} {
		if got, err := ParseTarget(line, "acme/shop"); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", line, got, err, want)
		}
	}
}

func TestParseTargetRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"":                                       "a secret's name holds letters",
		"postgres://u:hunter2@h/d":               "a secret's name holds letters",
		"MY-NAME":                                `secret "MY-NAME": a name holds letters`,
		"9NAME":                                  `secret "9NAME": a name holds letters`,
		"github_name":                            `secret "github_name": GitHub keeps names`,
		"NAME=":                                  `secret "NAME": what follows "=" is no property`,
		"NAME=hunter2":                           `secret "NAME": what follows "=" is no property`,
		"NAME=URL":                               `secret "NAME": what follows "=" is no property`,
		"hunter2 NAME":                           `secret "NAME": its target is not one`,
		"postgres://u:hunter2@h/d NAME":          `secret "NAME": its target is not one`,
		"acme/shop/hunter2 NAME":                 `secret "NAME": its target is not one`,
		"acme/.. NAME":                           `secret "NAME": its target is not one`,
		"../.. NAME":                             `secret "NAME": its target is not one`,
		"acme/ NAME":                             `secret "NAME": its target is not one`,
		"/shop NAME":                             `secret "NAME": its target is not one`,
		"ac%6de/shop NAME":                       `secret "NAME": its target is not one`,
		"org: NAME":                              `secret "NAME": its target is not one`,
		"dependabot:acme/shop@prod NAME":         `secret "NAME": its target is not one`,
		"@ NAME":                                 `secret "NAME": the environment's name`,
		"@.. NAME":                               `secret "NAME": the environment's name`,
		"@a\x01hunter2 NAME":                     `secret "NAME": the environment's name`,
		"@\xff NAME":                             `secret "NAME": the environment's name`,
		"@" + strings.Repeat("x", 256) + " NAME": `secret "NAME": the environment's name`,
	} {
		target, err := ParseTarget(line, "acme/shop")
		var f *failure
		if !errors.As(err, &f) || f.Class() != "refused" || !strings.HasPrefix(f.Error(), want) || strings.Contains(f.Error(), "hunter2") || target != (Target{}) {
			t.Errorf("%q: %+v, %v; want %q", line, target, err, want)
		}
	}
	if _, err := ParseTarget("NAME", ""); err == nil || !strings.Contains(err.Error(), "no repository is named") {
		t.Errorf("no default: %v", err)
	}
}

func TestParseTargetsTellsEverythingAtOnce(t *testing.T) {
	_, err := ParseTargets([]string{
		"NAME", "acme/SHOP name=url", "@production NAME", "@Production Name", "org:acme NAME", "org:Acme name", "dependabot:acme/shop NAME", "9",
	}, "acme/shop")
	want := `secret "name" is named twice for acme/SHOP; names ignore case
secret "Name" is named twice for acme/shop@Production; names ignore case
secret "name" is named twice for org:Acme; names ignore case
secret "9": a name holds letters, digits and underscores only, and does not start with a digit`
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant\n%s", err, want)
	}
	targets, err := ParseTargets([]string{"NAME", "@production NAME", "other/repo NAME", "OTHER=url", "org:acme NAME", "dependabot:acme/shop NAME"}, "acme/shop")
	if err != nil || len(targets) != 6 {
		t.Errorf("%v, %v", targets, err)
	}
	if targets, err := ParseTargets(nil, ""); err != nil || targets != nil {
		t.Errorf("nothing: %v, %v", targets, err)
	}
}

func TestSecretRefusesWhatItCannotWrite(t *testing.T) {
	var c Client
	for _, target := range []Target{
		{Organization, "acme", "", "", "NAME", URL},
		{Dependabot, "acme", "shop", "", "NAME", DSN},
		{Repository, "acme", "shop", "", "NAME", URL},
		{Environment, "acme", "shop", "production", "NAME", DSN},
		{Repository, "acme", "shop", "", "NAME", Verifier},
	} {
		s, err := c.Secret(target, "")
		var f *failure
		if s != nil || !errors.As(err, &f) || f.Class() != "refused" || f.Hint() == "" {
			t.Errorf("%v: %v, %v", target, s, err)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, line := range []string{"NAME", "acme/shop@eu/west NAME=url", "org:acme N", "dependabot:a/b N=dsn", "@a b N", "a/..@.. N", "=", "@\x00 N"} {
		f.Add(line, "acme/shop")
		f.Add(line, "")
	}
	f.Fuzz(func(t *testing.T, line, repository string) {
		target, err := ParseTarget(line, repository)
		if err != nil {
			if target != (Target{}) {
				t.Errorf("%q: both %+v and %v", line, target, err)
			}
			return
		}
		again, err := ParseTarget(target.String()+"="+string(target.Property), "")
		if err != nil || again != target {
			t.Errorf("%q: %+v reads back as %+v, %v", line, target, again, err)
		}
		base, _ := url.Parse("https://api.github.com/")
		u, err := base.Parse(target.path() + "/" + target.Name)
		segments := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
		if err != nil || len(segments) != map[Kind]int{Repository: 6, Environment: 7, Organization: 5, Dependabot: 6}[target.Kind] ||
			segments[1] != target.Owner || target.Kind != Organization && segments[2] != target.Repo {
			t.Errorf("%q: leads to %q, %v", line, u, err)
		}
		if name, _ := url.PathUnescape(segments[min(4, len(segments)-1)]); target.Kind == Environment && name != target.Env {
			t.Errorf("%q: environment %q, want %q", line, name, target.Env)
		}
	})
}

func TestUnnamed(t *testing.T) {
	targets, err := ParseTargets([]string{"PASSWORD", "@production PASSWORD", "@production NAME=username", "URL=url", "dependabot:acme/shop DSN=dsn", "org:acme LINE=verifier"}, "acme/shop")
	if err != nil {
		t.Fatal(err)
	}
	nameless, pairs := Unnamed(targets)
	if len(nameless) != 2 || nameless[0].String() != "acme/shop PASSWORD" || nameless[1].String() != "org:acme LINE" {
		t.Errorf("without a user name: %v", nameless)
	}
	if len(pairs) != 1 || pairs[0].String() != "acme/shop@production PASSWORD" {
		t.Errorf("pairs: %v", pairs)
	}
}
