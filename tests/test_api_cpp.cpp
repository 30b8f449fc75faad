// The public headers from C++: they compile, their functions link and work, and the idiom that C++ wants (an owner that closes) fits.
// Everything else about the interface is tested in test_api.c.
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <csetjmp>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#include <cmocka.h>
}

#include <moe2/moe2.h>

namespace
{

struct closer {
    void operator()(moe2_model *model) const
    {
        moe2_model_close(model);
    }
    void operator()(moe2_tokenizer *tok) const
    {
        moe2_tokenizer_close(tok);
    }
};

void a_model_and_a_tokenizer_work_from_cpp(void **)
{
    err e = {};
    moe2_model *opened = nullptr;
    if (moe2_model_open(&opened, TEST_DIR "/fixtures/model_v3", nullptr, &e))
        fail_msg("%s", e.msg);
    std::unique_ptr<moe2_model, closer> model(opened);
    std::vector<int32_t> ids = {2, 3, 5, 7};
    std::vector<float> logits(ids.size() * static_cast<size_t>(moe2_model_vocab_size(model.get())));
    std::vector<int64_t> n_picks(static_cast<size_t>(moe2_model_n_experts(model.get())));
    assert_int_equal(0, moe2_model_logits(model.get(), logits.data(), ids.data(), 4, &e));
    assert_int_equal(0, moe2_model_expert_counts(model.get(), n_picks.data(), 1, &e));
    assert_true(logits[0] < 0 || logits[0] > 0);

    moe2_tokenizer *tok_opened = nullptr;
    assert_int_equal(0, moe2_tokenizer_open(&tok_opened, "bytes", &e));
    std::unique_ptr<moe2_tokenizer, closer> tok(tok_opened);
    int32_t *bytes = nullptr;
    size_t n = 0;
    char *text = nullptr;
    assert_int_equal(0, moe2_tokenizer_encode(tok.get(), &bytes, &n, "ciao", 4, &e));
    assert_int_equal(0, moe2_tokenizer_decode(tok.get(), &text, bytes, n, &e));
    assert_true(std::string(text) == "ciao");
    std::free(bytes);
    std::free(text);
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(a_model_and_a_tokenizer_work_from_cpp)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
