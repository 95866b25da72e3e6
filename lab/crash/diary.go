package crash

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
)

// diary is the journal as it was at every time: a rotation that was turned back
// has wiped the password that it had brought in, which must not be found either.
type diary struct {
	stop func()

	mu   sync.Mutex
	seen map[string]bool // versions
}

func (b *Bench) watchJournal() *diary {
	ctx, stop := context.WithCancel(b.ctx)
	w := &diary{stop: stop, seen: map[string]bool{}}
	learn := func(object any) {
		if journal, ok := object.(*corev1.Secret); ok {
			b.learn(journaled(journal))
			w.see(journal.ResourceVersion)
		}
	}
	source := cache.NewListWatchFromClient(b.Cluster.CoreV1().RESTClient(), "secrets", b.Name, fields.OneTermEqualSelector("metadata.name", fixture.Journal))
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{ListerWatcher: source, ObjectType: &corev1.Secret{},
		Handler: cache.ResourceEventHandlerFuncs{AddFunc: learn, UpdateFunc: func(_, now any) { learn(now) }}})
	go controller.RunWithContext(ctx)
	return w
}

func (w *diary) see(version string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[version] = true
}

func (w *diary) has(version string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[version]
}

// caughtUp waits until the journal was seen in the version; empty: there is none.
func (w *diary) caughtUp(version string) error {
	for end := time.Now().Add(30 * time.Second); version != "" && !w.has(version); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("version %q of the journal was not seen", version)
		}
	}
	return nil
}
