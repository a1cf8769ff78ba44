// One request in full: what was billed, who asked, and the file and byte it was read from.

import { copyable, traceCommand } from "./command.js";

export function recordOf(request, api) {
  const { h, format, visible } = api;
  const count = (value) => (value ? format.number(value) : null);
  const facts = [
    ["Input", format.number(request.input)],
    ["Output", format.number(request.output)],
    ["of it thinking", count(request.thinking)],
    ["Cache write", format.number(request.cacheCreate)],
    ["of it for 5 minutes", count(request.cache5m)],
    ["of it for an hour", count(request.cache1h)],
    ["Cache read", format.number(request.cacheRead)],
    ["Web searches", count(request.webSearches)],
    ["Web fetches", count(request.webFetches)],
    ...request.iterations.map((one) => [
      `${one.kind}${one.model ? `, ${one.model}` : ""}${one.kind === "fallback" ? " (listed only)" : ""}`,
      `${format.number(one.input)} in, ${format.number(one.output)} out, ${format.number(one.cacheCreate)} written, ${format.number(one.cacheRead)} read`,
    ]),
  ];
  const origin = [
    ["Message", code(request.messageId)],
    ["Request", code(request.requestId)],
    ["Row", code(request.uuid)],
    ["Agent", code(request.agentId)],
    ["Branch", code(request.gitBranch)],
    ["Version", code(request.clientVersion)],
    ["Tier", [request.serviceTier, request.speed].filter(Boolean).join(", ") || null],
    ["Directory", code(request.projectPath)],
  ];
  const place = [
    ["File", code(request.file)],
    ["Byte", request.offset === null ? null : code(String(request.offset))],
  ];

  function code(text) {
    return text === null || text === undefined || text === "" ? null : h("code", null, text);
  }

  function list(name, entries) {
    return h("dl", { class: name }, entries.filter(([, value]) => value !== null).map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
  }

  const command = traceCommand(request, visible);
  return h(
    "div",
    { class: "record" },
    request.partial && h("p", { class: "small muted" }, "Only a placeholder of the output was ever written; it counts with the tokens it names."),
    h("div", { class: "record-columns" }, list("facts facts-short", facts), list("facts", origin), list("facts-wide", place)),
    request.file === null && h("p", { class: "small muted" }, "Taken over from an older ledger, which kept neither file nor byte."),
    h("p", { class: "small muted" }, command ? "Every line behind this number, read afresh from the transcripts:" : "Its id holds characters that are not safe to paste into a terminal; look at the byte above."),
    command && copyable(command, api),
  );
}
