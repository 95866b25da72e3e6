package rotation_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

type twinsPort struct{ p *process }

func (t twinsPort) Member(ctx context.Context, name, base string) (member bool, err error) {
	err = t.p.call(ctx, "Twins.Member", func() error {
		member = name == twin && base == role && t.p.w.twin != nil
		return nil
	})
	return member, err
}

func (t twinsPort) PlanFormer(ctx context.Context, name string) (string, []string, error) {
	return "new verifier", nil, t.p.call(ctx, "Twins.PlanFormer", func() error { return t.p.w.exists(name) })
}

func (t twinsPort) PlanTwin(ctx context.Context, base, other, target string) (string, []string, error) {
	return "new verifier", nil, t.p.call(ctx, "Twins.PlanTwin", func() error {
		if base != role || target != base && target != other {
			return &failed{"refused", "role " + base + " does not exist"}
		}
		return nil
	})
}

func (t twinsPort) Create(ctx context.Context, base, name string) error {
	return t.p.call(ctx, "Twins.Create", func() error {
		if err := t.p.alive(); err != nil || t.p.w.twin != nil {
			return err
		}
		t.p.w.twin = &login{nologin: true}
		t.p.w.writes++
		return nil
	})
}

func (t twinsPort) Enable(ctx context.Context, c secret.Credential) (time.Time, error) {
	return databasePort(t).set(ctx, "Twins.Enable", c, func(l *login) { l.nologin = false })
}

type retirementPort struct{ p *process }

func (t retirementPort) Sessions(ctx context.Context, name string) (n int, err error) {
	err = t.p.call(ctx, "Retirement.Sessions", func() error {
		n = t.p.w.sessions(name)
		return nil
	})
	return n, err
}

func (t retirementPort) Retire(ctx context.Context, name, served string) error {
	return t.close(ctx, "Retirement.Retire", name, served, func(l *login) {})
}

func (t retirementPort) Revoke(ctx context.Context, name, served string) error {
	return t.close(ctx, "Retirement.Revoke", name, served, func(l *login) { l.nologin, l.burnt = true, slices.Clone(l.had) })
}

func (t retirementPort) close(ctx context.Context, what, name, served string, more func(*login)) error {
	return t.p.call(ctx, what, func() error {
		l := t.p.w.role(name)
		if err := t.p.alive(); err != nil || l == nil {
			return err
		}
		if served != "" && (t.p.w.role(served) == nil || served == name) {
			return &failed{"refused", fmt.Sprintf("close role %q: it does not take turns with %q", name, served)}
		}
		l.accepts = ""
		more(l)
		t.p.w.writes++
		return nil
	})
}
