package convert

// Verdict is what a tie group is, whatever anybody declares.
type Verdict string

// The verdicts.
const (
	TiedShared         Verdict = "TIED_SHARED"           // one tensor, under the source's name
	TiedSharedHeadName Verdict = "TIED_SHARED_HEAD_NAME" // one tensor, under the head's name
	TiedAliased        Verdict = "TIED_ALIASED"          // two names, one storage
	TiedDuplicate      Verdict = "TIED_DUPLICATE"        // two tensors, equal bytes
	TiedCast           Verdict = "TIED_CAST"             // two tensors, equal after exact widening
	TiedPrefix         Verdict = "TIED_PREFIX"           // equal on the common rows
	TiedScaled         Verdict = "TIED_SCALED"           // one is the other times a constant
	Drifted            Verdict = "DRIFTED"               // declared tied, nearly equal
	Untied             Verdict = "UNTIED"
	UntiedEqual        Verdict = "UNTIED_EQUAL" // equal bytes, declared untied
	HeadMissing        Verdict = "HEAD_MISSING"
	EmbedMissing       Verdict = "EMBED_MISSING"
	GroupMissing       Verdict = "GROUP_MISSING"
	ShapeConflict      Verdict = "SHAPE_CONFLICT"
	QuantSplit         Verdict = "QUANT_SPLIT"
	Overlap            Verdict = "OVERLAP"    // two names, a part of one storage in common
	Uncompared         Verdict = "UNCOMPARED" // both stored; only data could tell
)

// Tied reports whether the verdict is one of --require tied.
func (v Verdict) Tied() bool {
	switch v {
	case TiedShared, TiedSharedHeadName, TiedAliased, TiedDuplicate, TiedCast:
		return true
	}
	return false
}

// Untied reports whether the verdict is one of --require untied.
func (v Verdict) Untied() bool { return v == Untied || v == UntiedEqual }

// action is what auto does.
type action string

const (
	actKeep     action = "keep as it is"
	actRename   action = "store it under the embedding's name"
	actOnce     action = "store it once"
	actBoth     action = "keep both"
	actSplit    action = "store two copies"
	actRefuse   action = "refuse"
	actNothing  action = "nothing to do"
	levelOK            = ""
	levelNote          = "note"
	levelWarn          = "warn"
	levelRefuse        = "error"
)

// cell is one cell of the decision matrix: what a state is called, what auto does, which flag it writes and how loudly it says so.
type cell struct {
	verdict Verdict
	act     action
	flag    bool
	level   string
}

// declared is a column of the matrix.
type declared string

const (
	colTrue     declared = "T" // explicit true
	colTrueDef  declared = "t" // true by class default
	colFalse    declared = "F"
	colFalseDef declared = "f"
	colUnknown  declared = "?"
)

// aliased is the state of two names that share one storage, overlapping that of two that share a part of one.
const aliased, overlapping = "aliased", "overlapping"

// matrix is the decision matrix of auto: a row is what the file holds, a column what it declares.
var matrix = map[string]map[declared]cell{
	"source only": {
		colTrue: {TiedShared, actKeep, true, levelOK}, colTrueDef: {TiedShared, actKeep, true, levelNote},
		colFalse:    {HeadMissing, actRefuse, false, levelRefuse},
		colFalseDef: {TiedShared, actKeep, true, levelWarn}, colUnknown: {TiedShared, actKeep, true, levelWarn},
	},
	"head only": {
		colTrue: {TiedSharedHeadName, actRename, true, levelNote}, colTrueDef: {TiedSharedHeadName, actRename, true, levelWarn},
		colFalse:    {EmbedMissing, actRefuse, false, levelRefuse},
		colFalseDef: {TiedSharedHeadName, actRename, true, levelWarn}, colUnknown: {TiedSharedHeadName, actRename, true, levelWarn},
	},
	aliased: {
		colTrue: {TiedAliased, actOnce, true, levelOK}, colTrueDef: {TiedAliased, actOnce, true, levelOK},
		colFalse:    {TiedAliased, actSplit, false, levelWarn},
		colFalseDef: {TiedAliased, actOnce, true, levelWarn}, colUnknown: {TiedAliased, actOnce, true, levelWarn},
	},
	string(Equal): {
		colTrue: {TiedDuplicate, actOnce, true, levelNote}, colTrueDef: {TiedDuplicate, actOnce, true, levelNote},
		colFalse:    {UntiedEqual, actBoth, false, levelNote},
		colFalseDef: {UntiedEqual, actBoth, false, levelWarn}, colUnknown: {TiedDuplicate, actBoth, false, levelWarn},
	},
	string(CastEqual): {
		colTrue: {TiedCast, actOnce, true, levelNote}, colTrueDef: {TiedCast, actOnce, true, levelNote},
		colFalse: {Untied, actBoth, false, levelOK}, colFalseDef: {Untied, actBoth, false, levelNote}, colUnknown: {TiedCast, actBoth, false, levelWarn},
	},
	string(Prefix): {
		colTrue: {TiedPrefix, actBoth, false, levelWarn}, colTrueDef: {TiedPrefix, actBoth, false, levelWarn},
		colFalse: {Untied, actBoth, false, levelOK}, colFalseDef: {Untied, actBoth, false, levelNote}, colUnknown: {TiedPrefix, actBoth, false, levelWarn},
	},
	string(Scaled): {
		colTrue: {TiedScaled, actBoth, false, levelWarn}, colTrueDef: {TiedScaled, actBoth, false, levelWarn},
		colFalse: {Untied, actBoth, false, levelOK}, colFalseDef: {Untied, actBoth, false, levelNote}, colUnknown: {TiedScaled, actBoth, false, levelWarn},
	},
	string(Near): {
		colTrue: {Drifted, actBoth, false, levelWarn}, colTrueDef: {Drifted, actBoth, false, levelWarn},
		colFalse:    {Untied, actBoth, false, levelOK},
		colFalseDef: {Untied, actBoth, false, levelOK}, colUnknown: {Drifted, actBoth, false, levelWarn},
	},
	string(Distinct): {
		colTrue: {Untied, actBoth, false, levelWarn}, colTrueDef: {Untied, actBoth, false, levelWarn},
		colFalse: {Untied, actBoth, false, levelOK}, colFalseDef: {Untied, actBoth, false, levelNote}, colUnknown: {Untied, actBoth, false, levelNote},
	},
	string(Incomparable): {
		colTrue: {ShapeConflict, actRefuse, false, levelRefuse}, colTrueDef: {ShapeConflict, actRefuse, false, levelRefuse},
		colFalse: {Untied, actBoth, false, levelNote}, colFalseDef: {Untied, actBoth, false, levelNote}, colUnknown: {ShapeConflict, actRefuse, false, levelRefuse},
	},
	"quantized differently": {
		colTrue: {QuantSplit, actBoth, false, levelWarn}, colTrueDef: {QuantSplit, actBoth, false, levelWarn},
		colFalse: {Untied, actBoth, false, levelOK}, colFalseDef: {Untied, actBoth, false, levelOK}, colUnknown: {Untied, actBoth, false, levelOK},
	},
	overlapping: {
		colTrue: {Overlap, actRefuse, false, levelRefuse}, colTrueDef: {Overlap, actRefuse, false, levelRefuse},
		colFalse: {Overlap, actRefuse, false, levelRefuse}, colFalseDef: {Overlap, actRefuse, false, levelRefuse}, colUnknown: {Overlap, actRefuse, false, levelRefuse},
	},
	"neither": {
		colTrue: {GroupMissing, actRefuse, false, levelRefuse}, colTrueDef: {GroupMissing, actRefuse, false, levelRefuse},
		colFalse: {GroupMissing, actRefuse, false, levelRefuse}, colFalseDef: {GroupMissing, actRefuse, false, levelRefuse}, colUnknown: {GroupMissing, actRefuse, false, levelRefuse},
	},
}
