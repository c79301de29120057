package pytorch_test

import (
	"testing"
	"time"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// TestCorpus counts the files of the tables, and holds the small ones to what they may cost: a file of a page is refused or read without an
// allocation of 64 KiB or more, for no length in it is proved by more than its bytes, and in 50 ms of which most is the machine's.
func TestCorpus(t *testing.T) {
	bad := map[string][]formatstest.Hostile{"pickles": append(append(append([]formatstest.Hostile{}, machines...), tensors...), states...), "archives": containers, "legacy and tar": relics}
	for _, x := range payloads("/tmp/x") {
		s, at := marked(x.pickle)
		bad["payloads"] = append(bad["payloads"], formatstest.Hostile{Name: x.name, Bytes: checkpoint(s, sixty4).b, Code: x.code, Offset: int64(pickleAt + at)})
	}
	least := map[string]int{"pickles": 130, "archives": 80, "legacy and tar": 50, "payloads": 59}
	all := 0
	names := map[string]bool{}
	for group, list := range bad {
		if all += len(list); len(list) < least[group] {
			t.Errorf("%s: got %d files, want at least %d", group, len(list), least[group])
		}
		for _, x := range list {
			if names[group+x.Name] {
				t.Errorf("%s: two files are called %q", group, x.Name)
			}
			names[group+x.Name] = true
			if len(x.Bytes) > 4<<10 || x.Size > 0 {
				continue
			}
			cheap(t, x.Name, x.Bytes, x.Code)
		}
		t.Logf("%d bad %s", len(list), group)
	}
	for _, x := range odd {
		if len(x.image.b) < 4<<10 {
			cheap(t, x.name, x.image.b, "")
		}
	}
	for _, x := range oddRelics {
		cheap(t, x.name, x.relic.b, "")
	}
	t.Logf("%d bad files, %d odd ones that are read", all, len(odd)+len(oddRelics))
}

// cheap opens a small file. The least of three tries counts: what else the program does in the meantime is none of the file's.
func cheap(t *testing.T, name string, b []byte, code formats.Code) {
	t.Helper()
	least, fastest := uint64(1<<62), time.Hour
	for range 3 {
		start, before := time.Now(), allocated()
		c, err := pytorch.Format.Open(formatstest.OneFile(b), formats.Set{Dir: "/", Files: []string{"m.bin"}})
		least, fastest = min(least, allocated()-before), min(fastest, time.Since(start))
		if formats.CodeOf(err) != code {
			t.Errorf("%s: got %v, want %s", name, err, code)
		}
		if err == nil {
			c.Close()
		} else if n := len(formats.Errors(err)[0].Error()); n > 1<<10 && code != formats.Limit {
			t.Errorf("%s: got a message of %d bytes", name, n)
		}
	}
	limit := uint64(16*len(b) + 64<<10)
	if code == formats.Limit {
		limit = 1 << 20 // what contains itself is walked until its budget is spent, in small steps
	}
	if least > limit {
		t.Errorf("%s: allocated %d bytes, want at most %d", name, least, limit)
	}
	if fastest > 50*time.Millisecond {
		t.Errorf("%s: took %v", name, fastest)
	}
}
