package pytorch

import (
	"encoding/binary"
	"math"

	"github.com/bowline-ml/bowline/formats"
)

// pickler writes a state dictionary in protocol 2, opcode for opcode as CPython's pickler writes what torch.save gives it (of protocols
// 3 to 5 torch.load(weights_only=True) refuses the last two).
type pickler struct {
	b    []byte
	memo map[string]int // slots of strings and names that come again
	next int            // slot
}

// pickle is the state dictionary of tensors and of aliases, which follow their tensors in h. key[i] is that of the storage of tensor i.
func pickle(h formats.Header, tensors []int, aliases map[string][]string) []byte {
	p := &pickler{memo: map[string]int{}}
	p.b = append(p.b, 0x80, 2)
	p.orderedDict()
	type item struct {
		name   string
		tensor int // into h
		key    int64
	}
	var items []item
	for k, i := range tensors {
		items = append(items, item{h.Tensors[i].Name, i, int64(k)})
		for _, name := range aliases[h.Tensors[i].Name] {
			items = append(items, item{name, i, int64(k)})
		}
	}
	// In batches of 1000, a single item without a mark (CPython, Modules/_pickle.c, batch_dict).
	const batch = 1000
	for len(items) > 0 {
		n := min(len(items), batch)
		if n > 1 {
			p.b = append(p.b, '(')
		}
		for _, x := range items[:n] {
			p.text(x.name)
			p.put()
			p.tensor(h.Tensors[x.tensor], x.key)
		}
		if n > 1 {
			p.b = append(p.b, 'u')
		} else {
			p.b = append(p.b, 's')
		}
		items = items[n:]
	}
	return append(p.b, '.')
}

func (p *pickler) put() {
	if p.next < 256 {
		p.b = append(p.b, 'q', byte(p.next))
	} else {
		p.b = binary.LittleEndian.AppendUint32(append(p.b, 'r'), uint32(p.next))
	}
	p.next++
}

// again writes what the memo has under a name.
func (p *pickler) again(name string) bool {
	slot, ok := p.memo[name]
	switch {
	case !ok:
		p.memo[name] = p.next
	case slot < 256:
		p.b = append(p.b, 'h', byte(slot))
	default:
		p.b = binary.LittleEndian.AppendUint32(append(p.b, 'j'), uint32(slot))
	}
	return ok
}

func (p *pickler) text(s string) {
	p.b = append(binary.LittleEndian.AppendUint32(append(p.b, 'X'), uint32(len(s))), s...)
}

// shared is a string that Python has once.
func (p *pickler) shared(s string) {
	if !p.again("str " + s) {
		p.text(s)
		p.put()
	}
}

func (p *pickler) global(module, name string) {
	if !p.again(module + "\n" + name) {
		p.b = append(p.b, 'c')
		p.b = append(p.b, module...)
		p.b = append(p.b, '\n')
		p.b = append(p.b, name...)
		p.b = append(p.b, '\n')
		p.put()
	}
}

func (p *pickler) int(n int64) {
	switch {
	case n <= math.MaxUint8:
		p.b = append(p.b, 'K', byte(n))
	case n <= math.MaxUint16:
		p.b = binary.LittleEndian.AppendUint16(append(p.b, 'M'), uint16(n))
	case n <= math.MaxInt32:
		p.b = binary.LittleEndian.AppendUint32(append(p.b, 'J'), uint32(n))
	default:
		at := len(p.b) + 1
		p.b = append(p.b, 0x8a, 0)
		for ; n > 0; n >>= 8 {
			p.b = append(p.b, byte(n))
		}
		if p.b[len(p.b)-1]&0x80 != 0 { // a sign bit that is not meant
			p.b = append(p.b, 0)
		}
		p.b[at] = byte(len(p.b) - at - 1)
	}
}

func (p *pickler) ints(list []int64) {
	if len(list) > 3 {
		p.b = append(p.b, '(')
	}
	for _, n := range list {
		p.int(n)
	}
	switch len(list) {
	case 0:
		p.b = append(p.b, ')')
		return
	case 1, 2, 3:
		p.b = append(p.b, 0x84+byte(len(list)))
	default:
		p.b = append(p.b, 't')
	}
	p.put()
}

func (p *pickler) orderedDict() {
	p.global("collections", "OrderedDict")
	p.b = append(p.b, ')', 'R')
	p.put()
}

// tensor is a contiguous one that fills its storage (torch/_tensor.py, Tensor._reduce_ex_internal).
func (p *pickler) tensor(t formats.Tensor, key int64) {
	s, _ := find(func(s scalar) bool { return s.dtype == t.DType })
	numel, rebuild := t.Elems(), "_rebuild_tensor_v2"
	if s.storage == "" {
		numel, rebuild = t.Bytes, "_rebuild_tensor_v3"
	}
	p.global("torch._utils", rebuild)
	p.b = append(p.b, '(', '(')
	p.shared("storage")
	if s.storage == "" {
		p.global("torch.storage", "UntypedStorage")
	} else {
		p.global("torch", s.storage)
	}
	p.shared(keyOf(key))
	p.shared("cpu")
	p.int(numel)
	p.b = append(p.b, 't')
	p.put()
	p.b = append(p.b, 'Q')
	p.int(0)
	p.ints(t.Shape)
	p.ints(contiguous(t.Shape))
	p.b = append(p.b, 0x89)
	p.orderedDict()
	if s.storage == "" {
		p.global("torch", s.name)
	}
	p.b = append(p.b, 't')
	p.put()
	p.b = append(p.b, 'R')
	p.put()
}

// contiguous are torch's strides of a tensor in row-major order: a dimension of size 0 counts as 1 for those before it.
func contiguous(shape []int64) []int64 {
	out := make([]int64, len(shape))
	step := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		out[i] = step
		step *= max(shape[i], 1)
	}
	return out
}
