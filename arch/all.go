package arch

// All is every family, in the order in which a class name is looked up.
func All() []*Family {
	return []*Family{
		&Mixtral, // before Llama, which takes all that is called llama in GGUF
		&Llama,
		&Granite,
		&GraniteMoe,
		&T5,
		&Bert,
	}
}
