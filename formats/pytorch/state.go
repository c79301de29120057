package pytorch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bowline-ml/bowline/formats"
)

// wrappers are the keys under which training programs keep the state dictionary; the last is that of PyTorch's own tutorial.
var wrappers = []string{"model", "state_dict", "module", "model_state_dict"}

// training begins the keys of what may hold tensors beside a state dictionary, and is no weight.
var training = []string{"optim", "lr_sched", "sched", "scaler", "amp", "native_amp", "callbacks", "loops", "hparams", "hyper_parameters", "rng", "random",
	"cuda_rng", "torch_rng", "numpy_rng", "loss", "best", "epoch", "step", "args", "config"}

// aside are the names of what training leaves beside weights that no wrapper sets apart. Those that may be tensors by themselves are true.
var aside = map[string]bool{
	"optimizer": false, "optimizer_state_dict": false, "optimizer_states": false, "optim": false, "lr_scheduler": false, "lr_schedulers": false,
	"lr_scheduler_state_dict": false, "scheduler": false, "scheduler_state_dict": false, "scaler": false, "grad_scaler": false, "amp": false,
	"rng_state": true, "rng_states": true, "cpu_rng_state": true, "cuda_rng_state": true, "torch_rng_state": true, "random_rng_state": true, "numpy_rng_state": true,
}

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
	listed bool // a list was read
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
	if w.reach(root); w.m.fatal != nil {
		return
	}
	switch root := root.(type) {
	case *tensor:
		w.note(w.stem, "the tensor is called after its file", false, "the file holds one tensor without a name")
		w.add(w.stem, root)
	case *dict:
		d := w.unwrap(root)
		if isOptimizer(d) && w.holds(d) {
			w.note(w.file, "read all the same", true, "this is the state of an optimizer, not weights")
		}
		w.flatten(level{d: d, skip: w.left(d)})
	default:
		if n, ok := root.(*node); ok && (n.kind == list || n.kind == tuple) && w.holds(n) {
			w.flatten(w.list(n, "", w.file))
			break
		}
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
		if t.problem == nil || !t.named && wellFormed(t.problem.code) {
			continue
		}
		if w.m.broken++; w.m.broken > maxTold {
			w.m.more++
			continue
		}
		t.problem.tensor = t.name
		w.m.problems = append(w.m.problems, t.problem)
	}
	if unnamed > 0 {
		w.note(w.file, "some tensors are not read", true, "%d tensors of the pickle are in none of the entries that are read", unnamed)
	}
}

// wellFormed reports whether a problem is only that a tensor is not read, which does not matter for one that nobody asks for.
func wellFormed(code formats.Code) bool {
	return code == formats.BadDType || code == formats.Unsupported || code == formats.Limit
}

// list is a list or tuple that is walked: its tensors are called by their places, as those of a torch.nn.ModuleList are.
func (w *walk) list(n *node, prefix, subject string) level {
	if !w.listed {
		w.listed = true
		w.note(subject, "read as a list", false, "its tensors are called by their places, from 0")
	}
	return level{list: n, prefix: prefix}
}

// left finds the entries that training left beside weights. If nothing else holds tensors, they are what the file is about.
func (w *walk) left(d *dict) map[*entry]bool {
	var out map[*entry]bool
	weights := false
	for i := range d.entries {
		e := &d.entries[i]
		if !w.holds(e.value) {
			continue
		}
		name, _ := e.key.(text)
		bare, known := aside[string(name)]
		if _, isTensor := e.value.(*tensor); !isOptimizer(e.value) && (!known || isTensor && !bare) {
			weights = true
			continue
		}
		if out == nil {
			out = map[*entry]bool{}
		}
		out[e] = true
	}
	if !weights {
		return nil
	}
	return out
}

// isOptimizer reports whether a value has the form of an optimizer's state_dict(), or is a list of such.
func isOptimizer(v any) bool {
	if n, ok := v.(*node); ok && n.kind == list && len(n.items) > 0 {
		v = n.items[0]
	}
	d, ok := v.(*dict)
	if !ok {
		return false
	}
	found := 0
	for _, e := range d.entries {
		if e.key == text("state") || e.key == text("param_groups") {
			found++
		}
	}
	return found == 2
}

func andOthers(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ": also " + strings.Join(names, ", ")
}

// unwrap goes down to the state dictionary.
func (w *walk) unwrap(d *dict) *dict {
	for range w.m.deepest {
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
				w.skip("", e.key)
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
	switch v := v.(type) {
	case *tensor, *storage:
		return true
	case *node:
		return v.holds
	case *dict:
		return v.holds
	}
	return false
}

// reach marks the containers from which a tensor can be reached. It looks at each once, whatever contains itself, and then goes up from
// those that have a tensor.
func (w *walk) reach(root any) {
	var all []any        // containers; their ids count from 1
	var heads []int32    // of each, its last edge upwards
	var edges [][2]int32 // the edge before, and the container at the other end
	visit := func(parent int32, v any) {
		var id *int32
		switch v := v.(type) {
		case *node:
			id = &v.id
		case *dict:
			id = &v.id
		default:
			return
		}
		if *id == 0 {
			if len(all) == cap(all) {
				if !w.m.spend(reachBytes * (2*len(all) + 64)) {
					return
				}
				all, heads = slices.Grow(all, len(all)+64), slices.Grow(heads, len(all)+64)
			}
			all, heads = append(all, v), append(heads, 0)
			*id = int32(len(all))
		}
		if parent > 0 {
			if len(edges) == cap(edges) {
				if !w.m.spend(edgeBytes * (2*len(edges) + 64)) {
					return
				}
				edges = slices.Grow(edges, len(edges)+64)
			}
			edges = append(edges, [2]int32{heads[*id-1], parent})
			heads[*id-1] = int32(len(edges))
		}
	}
	var up []int32
	visit(0, root)
	for i := 0; i < len(all) && w.m.fatal == nil; i++ {
		id, own := int32(i+1), false
		see := func(v any) {
			switch v.(type) {
			case *tensor, *storage:
				own = true
			default:
				visit(id, v)
			}
		}
		switch v := all[i].(type) {
		case *node:
			own = v.kind == refused
			for _, x := range v.items {
				see(x)
			}
		case *dict:
			for _, e := range v.entries {
				see(e.key)
				see(e.value)
			}
		}
		if own {
			up = append(up, id)
		}
	}
	for len(up) > 0 {
		id := up[len(up)-1]
		up = up[:len(up)-1]
		switch v := all[id-1].(type) {
		case *node:
			if v.holds {
				continue
			}
			v.holds = true
		case *dict:
			if v.holds {
				continue
			}
			v.holds = true
		}
		for e := heads[id-1]; e > 0; e = edges[e-1][0] {
			up = append(up, edges[e-1][1])
		}
	}
}

// level is a dictionary or list that is being walked.
type level struct {
	d      *dict
	list   *node
	next   int
	prefix string
	seen   map[any]int32   // keys of d, to the opcode that set them
	skip   map[*entry]bool // entries of d that are not weights
}

// entry is the next one; ok is false behind the last.
func (l *level) entry() (e entry, skip, ok bool) {
	if l.list != nil {
		if l.next == len(l.list.items) {
			return e, false, false
		}
		e = entry{key: int64(l.next), value: l.list.items[l.next], at: l.list.at}
	} else {
		if l.next == len(l.d.entries) {
			return e, false, false
		}
		e, skip = l.d.entries[l.next], l.skip[&l.d.entries[l.next]]
	}
	l.next++
	return e, skip, true
}

// flatten names the tensors of nested dictionaries and lists: their keys joined with dots.
func (w *walk) flatten(root level) {
	stack := []level{root}
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		e, skip, ok := top.entry()
		if !ok {
			stack = stack[:len(stack)-1]
			continue
		}
		if w.budget--; w.budget < 0 {
			w.tell(formats.Limit, e.at, "got more values than the pickle has opcodes: its dictionaries contain each other")
			return
		}
		if skip {
			w.note(keyName(e.key), "not read", true, "it holds what training left, and stands beside weights")
			continue
		}
		if top.d != nil {
			switch e.key.(type) {
			case text, raw, int64:
				if top.seen == nil {
					if w.m.op = int(e.at); !w.m.spend(keyBytes * len(top.d.entries)) {
						return
					}
					top.seen = make(map[any]int32, len(top.d.entries))
				}
				if at, ok := top.seen[e.key]; ok {
					p := w.tell(formats.Dup, e.at, "got the key twice, first from the opcode at byte %d of the pickle", at)
					p.tensor = top.prefix + keyName(e.key)
					continue
				}
				top.seen[e.key] = e.at
			}
		}
		next := w.entry(top.prefix, e)
		if w.over {
			return
		}
		if next.d != nil || next.list != nil {
			if len(stack) == w.m.deepest {
				w.tell(formats.Limit, e.at, "got dictionaries that nest deeper than %d", w.m.deepest).hint = formats.DepthBound.Hint(int64(len(stack)) + 1)
				return
			}
			stack = append(stack, next)
		}
	}
}

// entry takes one entry of a dictionary or list; if it is one itself, it is walked next.
func (w *walk) entry(prefix string, e entry) (next level) {
	if !w.holds(e.value) {
		w.skip(prefix, e.key)
		return
	}
	name := prefix + keyName(e.key)
	switch e.key.(type) {
	case text, int64:
	default:
		w.tell(formats.BadType, e.at, "got %s as the key of a tensor, want a str", formats.Escape(describe(e.key), 200)).tensor = name
		return
	}
	if w.bytes -= len(name); w.bytes < 0 {
		w.tell(formats.Limit, e.at, "got names of more than %d bytes in all", 8*len(w.m.src)+1<<16)
		w.over = true
		return
	}
	switch v := e.value.(type) {
	case *tensor:
		if w.m.op = int(e.at); w.m.spend(nameBytes) {
			w.add(name, v)
		}
		w.over = w.m.fatal != nil
		return
	case *storage:
		w.tell(formats.Unsupported, e.at, "got a storage, want a tensor").tensor = name
		return
	}
	if int64(len(name)) > w.m.longest {
		w.tell(formats.Limit, e.at, "got a name of more than %d bytes", w.m.longest).hint = formats.NameBound.Hint(int64(len(name)))
		return
	}
	switch v := e.value.(type) {
	case *dict:
		return level{d: v, prefix: name + "."}
	case *node:
		if v.kind == list || v.kind == tuple {
			return w.list(v, name+".", name)
		}
		why := "only dictionaries and lists of tensors are read"
		if v.kind == refused {
			why = "such tensors are not read"
		}
		w.tell(formats.Unsupported, e.at, "got %s, which holds tensors: %s", formats.Escape(describe(v), 200), why).tensor = name
	}
	return
}

// skip counts an entry without tensors.
func (w *walk) skip(prefix string, key any) {
	const most = 8
	if w.others++; len(w.other) < most {
		w.other = append(w.other, formats.Escape(prefix+keyName(key), 64))
	}
}

// add names a tensor.
func (w *walk) add(name string, t *tensor) {
	switch {
	case !utf8.ValidString(name):
		w.m.tell(formats.UTF8, "the name is not UTF-8").tensor = name
	case int64(len(name)) > w.m.longest:
		p := w.m.tell(formats.Limit, "got a name of %d bytes, want at most %d", len(name), w.m.longest)
		p.tensor, p.hint = name, formats.NameBound.Hint(int64(len(name)))
	}
	if !t.named {
		t.name, t.named = name, true
	}
	if len(w.found) == cap(w.found) {
		w.found = slices.Grow(w.found, len(w.found)+64)
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
