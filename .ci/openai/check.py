"""What OpenAI's client reads of `grpo serve`."""

import sys

import openai

url, token = sys.argv[1:]
client = openai.OpenAI(base_url=url, api_key=token, max_retries=0)

models = [model.id for model in client.models.list()]
assert models == ["tiny"], models

asked = dict(model="tiny", prompt="1 + 1 =", n=2, seed=3, max_tokens=16, logprobs=0)
whole = client.completions.create(**asked)
assert [choice.index for choice in whole.choices] == [0, 1]
for choice in whole.choices:
    assert choice.finish_reason in ("stop", "length"), choice
    assert len(choice.logprobs.token_logprobs) == len(choice.logprobs.tokens) > 0, choice
    assert all(logprob <= 0 for logprob in choice.logprobs.token_logprobs), choice
assert whole.usage.completion_tokens == sum(len(choice.logprobs.tokens) for choice in whole.choices)

texts, usage = ["", ""], None
for part in client.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
    for choice in part.choices:
        texts[choice.index] += choice.text
    usage = part.usage or usage
assert texts == [choice.text for choice in whole.choices], texts
assert usage == whole.usage, usage

messages = [{"role": "user", "content": "What is 12 + 30?"}]
chat = dict(model="tiny", messages=messages, temperature=0, max_completion_tokens=60, logprobs=True)
answer = client.chat.completions.create(**chat).choices[0]
assert answer.message.role == "assistant" and answer.message.content, answer
assert len(answer.logprobs.content) > 1, answer
said = ""
for part in client.chat.completions.create(**chat, stream=True):
    said += part.choices[0].delta.content or ""
assert said == answer.message.content, said
stopped = client.chat.completions.create(**chat, stop=said[5:7]).choices[0]
assert stopped.message.content == said[: said.index(said[5:7])], stopped

for change, kind in [
    (dict(model="other"), openai.NotFoundError),
    (dict(max_tokens=10**6), openai.BadRequestError),
    (dict(logit_bias={"5": 1}), openai.BadRequestError),
]:
    try:
        client.completions.create(**{**asked, **change})
    except kind as error:
        assert "server" in str(error) or "model" in str(error), error
    else:
        raise AssertionError(f"{change} is accepted")
try:
    openai.OpenAI(base_url=url, api_key="wrong", max_retries=0).models.list()
except openai.AuthenticationError:
    pass
else:
    raise AssertionError("a wrong token is accepted")
print(f"openai {openai.__version__}: models, completions, chat, streams and errors are read as they are meant")
