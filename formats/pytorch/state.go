package pytorch

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
)

// wrappers are the keys under which training programs keep the state dictionary.
var wrappers = []string{"model", "state_dict", "module"}

// training begins the keys of what may hold tensors beside a state dictionary, and is no weight.
var training = []string{"optim", "lr_sched", "sched", "scaler", "amp", "native_amp", "callbacks", "loops", "hparams", "hyper_parameters", "rng", "random",
	"cuda_rng", "torch_rng", "numpy_rng", "loss", "best", "epoch", "step", "args", "config"}

// found is a tensor with its name.
type found struct {
	name   string
	tensor *tensor
}

// walk names the tensors of a pickle's value. All walks share one budget, so that values that contain each other, or the same value
// over and over, end soon.
type walk struct {
	m      *machine
	stem   string // names a tensor that stands alone
	file   string
	budget int // values that may be looked at
	bytes  int // of names that may be made
	over   bool
	found  []found
	other  []string // entries without tensors, of which the first are kept
	others int
	notes  []formats.Note
}

func (w *walk) note(subject, decision string, warn bool, because string, args ...any) {
	w.notes = append(w.notes, formats.Note{Subject: subject, Decision: decision, Because: fmt.Sprintf(because, args...), Warn: warn})
}

// tell keeps a problem about what stands at an opcode.
func (w *walk) tell(code formats.Code, at int32, format string, args ...any) *problem {
	w.m.op = int(at)
	return w.m.tell(code, format, args...)
}

// state finds the state dictionary and names its tensors.
func (w *walk) state(root any) {
	w.budget, w.bytes = 8*w.m.steps+4096, 8*len(w.m.src)+1<<16
	switch root := root.(type) {
	case *tensor:
		w.note(w.stem, "the tensor is called after its file", false, "the file holds one tensor without a name")
		w.add(w.stem, root)
	case *dict:
		w.flatten(w.unwrap(root))
	default:
		p := w.tell(formats.Unsupported, 0, "the pickle holds %s, want a dict of tensors", formats.Escape(describe(root), 200))
		if n, ok := root.(*node); ok && n.class != nil {
			p.hint = "if it is a module that was saved whole, save its state_dict() instead"
		}
	}
	if w.others > 0 {
		w.note(w.other[0], "not read", false, "it holds no tensor (%d such entries%s)", w.others, andOthers(w.other[1:]))
	}
	unnamed := 0
	for _, t := range w.m.tensors {
		if !t.named {
			unnamed++
		}
		if t.problem != nil {
			t.problem.tensor = t.name
			w.m.problems = append(w.m.problems, t.problem)
		}
	}
	if unnamed > 0 {
		w.note(w.file, "some tensors are not read", true, "%d tensors of the pickle are in none of the entries that are read", unnamed)
	}
}

func andOthers(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ": also " + strings.Join(names, ", ")
}

// unwrap goes down to the state dictionary.
func (w *walk) unwrap(d *dict) *dict {
	for range maxDepth {
		inner, key := w.wrapped(d)
		if inner == nil {
			return d
		}
		beside := 0
		for _, e := range d.entries {
			if e.key == text(key) {
				continue
			}
			beside++
			if name := keyName(e.key); w.holds(e.value) {
				w.note(name, "not read", true, "it holds tensors, but stands beside \"%s\", which holds the weights", key)
			} else {
				w.skip(name)
			}
		}
		w.note(key, "unwrapped", false, "the weights are the entries below this key (%d other entries)", beside)
		d = inner
	}
	return d
}

// wrapped is the state dictionary in d, if d is a wrapper: nothing beside it may hold tensors but what training leaves.
func (w *walk) wrapped(d *dict) (inner *dict, key string) {
	for _, k := range wrappers {
		for _, e := range d.entries {
			if v, ok := e.value.(*dict); ok && e.key == text(k) && w.holds(v) {
				if inner != nil {
					return nil, ""
				}
				inner, key = v, k
			}
		}
	}
	if inner == nil {
		return nil, ""
	}
	for _, e := range d.entries {
		if e.key != text(key) && !leftover(e.key) && w.holds(e.value) {
			return nil, ""
		}
	}
	return inner, key
}

func leftover(key any) bool {
	s, _ := key.(text)
	for _, t := range training {
		if strings.HasPrefix(string(s), t) {
			return true
		}
	}
	return false
}

// holds reports whether a tensor or storage can be reached from a value.
func (w *walk) holds(v any) bool {
	seen := map[any]bool{}
	stack := []any{v}
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if w.budget--; w.budget < 0 {
			return true // flatten will say so
		}
		switch v := v.(type) {
		case *tensor, *storage:
			return true
		case *node:
			if v.kind == refused {
				return true
			}
			if !seen[v] {
				seen[v] = true
				stack = append(stack, v.items...)
			}
		case *dict:
			if !seen[v] {
				seen[v] = true
				for _, e := range v.entries {
					stack = append(stack, e.value)
					if n, ok := e.key.(*node); ok {
						stack = append(stack, n)
					}
				}
			}
		}
	}
	return false
}

// level is a dictionary that is being walked.
type level struct {
	d      *dict
	next   int
	prefix string
	seen   map[any]int32 // keys of d, to the opcode that set them
}

// flatten names the tensors of nested dictionaries: their keys joined with dots.
func (w *walk) flatten(d *dict) {
	stack := []level{{d: d}}
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if top.next == len(top.d.entries) {
			stack = stack[:len(stack)-1]
			continue
		}
		e := top.d.entries[top.next]
		top.next++
		if w.budget--; w.budget < 0 {
			w.tell(formats.Limit, e.at, "got more values than the pickle has opcodes: its dictionaries contain each other")
			return
		}
		switch e.key.(type) {
		case text, raw, int64:
			if top.seen == nil {
				top.seen = map[any]int32{}
			}
			if at, ok := top.seen[e.key]; ok {
				p := w.tell(formats.Dup, e.at, "got the key twice, first from the opcode at byte %d of the pickle", at)
				p.tensor = top.prefix + keyName(e.key)
				continue
			}
			top.seen[e.key] = e.at
		}
		next := w.entry(top.prefix, e)
		if w.over {
			return
		}
		if next.d != nil {
			if len(stack) == maxDepth {
				w.tell(formats.Limit, e.at, "got dictionaries that nest deeper than %d", maxDepth)
				return
			}
			stack = append(stack, next)
		}
	}
}

// entry takes one entry of a dictionary; if it is one itself, it is walked next.
func (w *walk) entry(prefix string, e entry) (next level) {
	key := keyName(e.key)
	switch e.key.(type) {
	case text, int64:
	default:
		if w.holds(e.value) {
			w.tell(formats.BadType, e.at, "got %s as the key of a tensor, want a str", formats.Escape(describe(e.key), 200)).tensor = prefix + key
			return
		}
	}
	name := prefix + key
	if w.bytes -= len(name); w.bytes < 0 {
		w.tell(formats.Limit, e.at, "got names of more than %d bytes in all", 8*len(w.m.src)+1<<16)
		w.over = true
		return
	}
	switch v := e.value.(type) {
	case *tensor:
		w.m.op = int(e.at)
		w.add(name, v)
		return
	case *dict:
		if len(name) > maxName {
			w.tell(formats.Limit, e.at, "got a name of more than %d bytes", maxName)
			return
		}
		if len(v.entries) == 0 {
			w.skip(name)
		}
		return level{d: v, prefix: name + "."}
	case *node:
		if w.holds(v) {
			why := "only dictionaries of tensors are read"
			if v.kind == refused {
				why = "such tensors are not read"
			}
			w.tell(formats.Unsupported, e.at, "got %s, which holds tensors: %s", formats.Escape(describe(v), 200), why).tensor = name
			return
		}
	case *storage:
		w.tell(formats.Unsupported, e.at, "got a storage, want a tensor").tensor = name
		return
	}
	w.skip(name)
	return
}

// skip counts an entry without tensors.
func (w *walk) skip(name string) {
	const most = 8
	if w.others++; len(w.other) < most {
		w.other = append(w.other, formats.Escape(name, 64))
	}
}

// add names a tensor.
func (w *walk) add(name string, t *tensor) {
	switch {
	case !utf8.ValidString(name):
		w.m.tell(formats.UTF8, "the name is not UTF-8").tensor = name
	case len(name) > maxName:
		w.m.tell(formats.Limit, "got a name of %d bytes, want at most %d", len(name), maxName).tensor = name
	}
	if !t.named {
		t.name, t.named = name, true
	}
	w.found = append(w.found, found{name, t})
}

// keyName is a key as part of a name.
func keyName(key any) string {
	switch k := key.(type) {
	case text:
		return string(k)
	case int64:
		return strconv.FormatInt(k, 10)
	case raw:
		return string(k)
	}
	return "(" + describe(key) + ")"
}
