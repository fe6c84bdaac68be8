const llama_vocab_base64 = "YQpiCmQKbgphbgpiYW4KYW5hCmRhbmE="
const llama_merges_binary = "AAADAAEABAAEAAAAAgAGAA=="
