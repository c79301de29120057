package arch

// All is every family, in the order in which a class name is looked up.
func All() []*Family {
	return []*Family{
		&Mixtral, // before Llama, which takes all that is called llama in GGUF
		&Llama,
		&Granite,
		&GraniteMoe,
		&Qwen2,
		&Qwen3,
		&GPTBigCode,
		&GPT2,
		&GPTNeoX,
		&Starcoder2,
		&Gemma,
		&Gemma2,
		&Gemma3, &Olmo2, &Phi3,
		&T5,
		&Bert,
	}
}
