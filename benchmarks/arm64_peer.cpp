// One run of llama.cpp for arm64_instructions.py, on one thread, with the marks that edgeq's counting plugin reads:
//
//   peer quantize IN.gguf OUT.gguf          to Q4_0
//   peer answer MODEL.gguf TEXT TOKENS      greedy text, to see that the program works
//   peer count MODEL.gguf PROMPT DECODE     PROMPT tokens at once, then DECODE single ones, each llama_decode an interval
//
// `count` prints one line of JSON: llama.cpp's own words about its CPU backend, MiB of repacked weights, and the intervals
// in order. Everything else is llama.cpp's default (flash attention auto, f16 cache, batches of up to 512 tokens).
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "llama.h"
#include "marker.h"

namespace {

double repacked_mib = 0;
std::string problems;

void on_log(ggml_log_level level, const char * text, void *) {
    if (const char * at = strstr(text, "CPU_REPACK model buffer size =")) repacked_mib += atof(strchr(at, '=') + 1);
    if (level == GGML_LOG_LEVEL_ERROR) problems += text;
}

void check(bool good, const char * what) {
    if (good) return;
    fprintf(stderr, "llama.cpp: %s: %s\n", what, problems.c_str());
    exit(1);
}

class Session {
public:
    explicit Session(const char * path) {
        model = llama_model_load_from_file(path, llama_model_default_params());
        check(model, "cannot load the model");
        llama_context_params wanted = llama_context_default_params();
        wanted.n_ctx = 1024;
        wanted.n_batch = wanted.n_ubatch = 512;
        wanted.n_threads = wanted.n_threads_batch = 1;
        context = llama_init_from_model(model, wanted);
        check(context, "cannot make a context");
        vocab = llama_model_get_vocab(model);
    }

    int32_t tokens() const { return llama_vocab_n_tokens(vocab); }

    void feed(llama_token * ids, int32_t n) { check(!llama_decode(context, llama_batch_get_one(ids, n)), "llama_decode"); }

    void feed_counted(llama_token * ids, int32_t n) {
        edgeq_mark(1);
        int status = llama_decode(context, llama_batch_get_one(ids, n));
        edgeq_mark(0);
        check(!status, "llama_decode");
    }

    void forget(int32_t from) { llama_memory_seq_rm(llama_get_memory(context), 0, from, -1); }

    llama_token likeliest() const {
        const float * logits = llama_get_logits_ith(context, -1);
        llama_token best = 0;
        for (llama_token i = 1; i < tokens(); i++)
            if (logits[i] > logits[best]) best = i;
        return best;
    }

    std::vector<llama_token> read(const char * text) const {
        std::vector<llama_token> ids(512);
        int32_t n = llama_tokenize(vocab, text, (int32_t) strlen(text), ids.data(), (int32_t) ids.size(), true, true);
        check(n > 0, "no tokens, or too many");
        ids.resize(n);
        return ids;
    }

    std::string text(llama_token id) const {
        char piece[256];
        int32_t n = llama_token_to_piece(vocab, id, piece, sizeof piece, 0, true);
        return std::string(piece, n > 0 ? n : 0);
    }

private:
    llama_model * model;
    llama_context * context;
    const llama_vocab * vocab;
};

void quantize(const char * from, const char * to) {
    llama_model_quantize_params wanted = llama_model_quantize_default_params();
    wanted.nthread = 1;
    wanted.ftype = LLAMA_FTYPE_MOSTLY_Q4_0;
    wanted.allow_requantize = true;
    check(!llama_model_quantize(from, to, &wanted), "cannot quantize");
}

void answer(const char * path, const char * prompt, int count) {
    Session session(path);
    std::vector<llama_token> ids = session.read(prompt);
    for (int i = 0; i < count; i++) {
        session.feed(ids.data(), (int32_t) ids.size());
        ids = {session.likeliest()};
        fputs(session.text(ids[0]).c_str(), stdout);
    }
    puts("");
}

// The first llama_decode of a kind makes a graph that later ones find: it is not counted, unless every prompt makes one.
void count(const char * path, int32_t prompt, int32_t decode) {
    Session session(path);
    std::vector<llama_token> ids(prompt + 1);
    for (int32_t i = 0; i <= prompt; i++) ids[i] = (llama_token) ((int64_t) i * 7919 % session.tokens());
    session.feed(ids.data(), 1);
    session.forget(0);
    session.feed_counted(ids.data(), prompt);
    session.feed(&ids[prompt], 1);
    session.forget(prompt);
    printf("{\"cpu\": \"%s\", \"repacked_mib\": %.2f, \"intervals\": [", llama_print_system_info(), repacked_mib);
    printf("{\"entry\": \"prefill\", \"rows\": %d, \"position\": 0}", prompt);
    for (int32_t i = 0; i < decode; i++) {
        session.feed_counted(&ids[prompt], 1);
        printf(", {\"entry\": \"decode\", \"rows\": 1, \"position\": %d}", prompt + i);
    }
    puts("]}");
}

}  // namespace

int main(int words, char ** word) {
    llama_log_set(on_log, nullptr);
    llama_backend_init();
    std::string verb = words > 1 ? word[1] : "";
    if (verb == "quantize" && words == 4) quantize(word[2], word[3]);
    else if (verb == "answer" && words == 5) answer(word[2], word[3], atoi(word[4]));
    else if (verb == "count" && words == 5) count(word[2], atoi(word[3]), atoi(word[4]));
    else check(false, "wrong arguments");
    return 0;
}
