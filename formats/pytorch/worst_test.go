package pytorch_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bowline-ml/bowline/formats"
	"github.com/bowline-ml/bowline/formats/formatstest"
	"github.com/bowline-ml/bowline/formats/formatstest/corpus"
	"github.com/bowline-ml/bowline/formats/pytorch"
)

// TestWorst runs pickles that make as much of each byte as the machine lets them. Read or refused, they may take 16 times their length and
// 16 MiB, and not long.
func TestWorst(t *testing.T) {
	const n = 1 << 20
	rep := func(s string) string { return strings.Repeat(s, n/len(s)) }
	each := func(size int, item func(i int) string) string {
		var b strings.Builder
		for i := range n / size {
			b.WriteString(item(i))
		}
		return b.String()
	}
	batch := func(s string) string { return rep("(" + strings.Repeat(s, 1000) + "e") }
	for name, p := range map[string]string{
		"N t":       proto + "(" + rep("N") + "t.",
		"dup t":     proto + "(N" + rep("2") + "t.",
		"list":      proto + "](" + rep("N") + "e.",
		"batches":   proto + "]" + batch("N") + ".",
		"append":    proto + "]" + rep("Na") + ".",
		"dict":      proto + "}" + rep("K\x01Ns") + ".",
		"dict u":    proto + "}" + rep("("+strings.Repeat("K\x01N", 1000)+"u") + ".",
		"dict NN":   proto + "}" + rep("NNs") + ".",
		"ints":      proto + "]" + batch("M\x01\x01") + ".",
		"strs":      proto + "]" + batch("\x8c\x00") + ".",
		"strs pop":  proto + rep("\x8c\x000") + "}.",
		"floats":    proto + "]" + batch("G12345678") + ".",
		"memo":      proto + "}" + rep("\x94") + ".",
		"memo far":  proto + "}" + each(5, func(i int) string { return "r" + le32(i*3+7) }) + ".",
		"dicts":     proto + "(" + rep("}") + "t.",
		"tuples":    proto + "(" + rep("N\x85") + "t.",
		"sets":      proto + "(" + rep("\x8f") + "t.",
		"globals":   proto + "}(" + rep("cab\nc\n") + "t0.",
		"setdef":    proto + "\x8f(" + rep("N") + "\x90.",
		"text ints": "(" + rep("I1\n") + "t.",
		"inert":     proto + global("a", "b") + "q\x000(" + rep("h\x00)\x81") + "t.",
		"mapping":   proto + global("collections", "OrderedDict") + "q\x000(" + rep("h\x00)R") + "t.",
		"seq":       proto + global("builtins", "list") + "q\x000](" + strings.Repeat("N", 1<<10) + "eq\x010(" + rep("h\x00h\x01\x85R") + "t.",
		"dictcopy":  proto + global("builtins", "dict") + "q\x000}(" + strings.Repeat("K\x01N", 1<<10) + "uq\x010(" + rep("h\x00h\x01\x85R") + "t.",
		"build":     proto + global("a", "b") + ")R" + rep("Nb") + ".",
		"tensors":   proto + v2pre() + "}" + each(24, func(i int) string { return "\x8c\x04" + le32(i)[:4] + "h\x00h\x01Rs" }) + ".",
		"broken":    proto + v2pre() + "}" + each(24, func(i int) string { return "\x8c\x04" + le32(i)[:4] + "h\x00h\x02Rs" }) + ".",
		"attrs":     proto + "}" + str("x") + good() + rep("K\x01b") + "s.",
		"dups":      proto + "}" + good() + "q\x000" + rep("K\x01h\x00s") + ".",
		"names":     proto + "}" + good() + "q\x000" + each(9, func(i int) string { return "J" + le32(i) + "h\x00s" }) + ".",
		"real":      proto + "}" + each(150, func(i int) string { return "\x8c\x04" + le32(i)[:4] + good() + "s" }) + ".",
		"encode":    proto + global("_codecs", "encode") + "q\x000" + str(strings.Repeat("a", 1000)) + str("latin1") + "\x86q\x010(" + rep("h\x00h\x01R") + "t.",
	} {
		b := checkpoint(p, sixty4).Bytes
		bytes, took := ^uint64(0), time.Hour
		for range 2 { // the runtime allocates beside it, and other processes run
			before, start := allocated(), time.Now()
			c, err := pytorch.Format.Open(formatstest.OneFile(b), formats.Set{Dir: "/", Files: []string{"m.bin"}})
			bytes, took = min(bytes, allocated()-before), min(took, time.Since(start))
			if err == nil {
				c.Close()
			} else if len(err.Error()) > 64<<10 {
				t.Errorf("%s: got %d bytes of messages", name, len(err.Error()))
			}
		}
		if limit := uint64(16*len(b) + 16<<20); bytes > limit {
			t.Errorf("%s: allocated %d bytes, want at most %d for a pickle of %d", name, bytes, limit, len(p))
		}
		if took > time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

// v2pre leaves _rebuild_tensor_v2 in slot 0 of the memo, the arguments of a good tensor in slot 1 and of one past its storage in slot 2.
func v2pre() string {
	return global("torch._utils", "_rebuild_tensor_v2") + "q\x000" + tuple(corpus.Store, num(0), ints(16), ints(1), "\x89", ordered()) + "q\x010" + tuple(corpus.Store, num(1), ints(16), ints(1), "\x89", ordered()) + "q\x020"
}
