// The numbers that come first, and in one plain sentence what they leave out.

import { filled } from "./buckets.js";
import { renewer } from "./keep.js";
import { KINDS } from "./kinds.js";
import { spark } from "./spark.js";

export function headline(api) {
  const { h, format, replace } = api;
  const renew = renewer(replace);
  const element = h("section", { class: "headline", "aria-label": "Totals" });

  function update({ summary, series, span, now }) {
    const buckets = filled(series, { ...span, now });
    const minute = Math.floor(now / 60_000); // "3 minutes ago" grows old
    renew(element, [summary, buckets, minute], () => [hero(summary), figures(summary, buckets), partial(summary)]);
  }

  function hero(summary) {
    return h(
      "div",
      { class: "hero" },
      h("p", { class: "hero-label", id: "total-label" }, "Total tokens"),
      h("p", { class: "hero-value", "aria-labelledby": "total-label", "data-total": summary.totalTokens }, format.number(summary.totalTokens)),
    );
  }

  function figures(summary, buckets) {
    const course = (name) => spark(buckets.map((bucket) => bucket[name]), name, api);
    const tokens = KINDS.map((kind) => figure(kind.label, summary[kind.total], shareOf(summary[kind.total], summary), course(kind.id)));
    const more = extras(summary);
    return h(
      "dl",
      { class: "figures tokens-figures" },
      tokens,
      figure("Requests", summary.eventCount, more, course("eventCount")),
      figure("Sessions", summary.sessionsActive, summary.newestEventTs ? `last ${format.ago(summary.newestEventTs)}` : ""),
    );
  }

  function figure(label, value, note, picture) {
    return h(
      "div",
      { class: "figure", "data-figure": label },
      h("dt", { class: "figure-label" }, label),
      h("dd", { class: "figure-value", title: format.number(value) }, value < 100_000 ? format.number(value) : format.compact(value)),
      h("dd", { class: "figure-note" }, note),
      picture && h("dd", { class: "figure-course" }, picture),
    );
  }

  function shareOf(value, { totalTokens }) {
    const share = totalTokens ? value / totalTokens : 0;
    if (share > 0 && share < 0.001) return "under 0.1%";
    return totalTokens ? format.percent(share) : "";
  }

  // Advisors and compactions are billed inside requests: in the totals, but no requests of their own.
  function extras({ kinds, totalTokens, eventCount }) {
    const found = ["advisor", "compaction"].filter((kind) => kinds?.[kind]?.requests);
    if (found.length) return found.map((kind) => `+ ${format.number(kinds[kind].requests)} ${kind}`).join(", ");
    return eventCount ? `${format.compact(totalTokens / eventCount)} tokens each` : "";
  }

  // What was never written down cannot be counted: said plainly, the estimate kept apart.
  function partial({ partial: left, eventCount }) {
    if (!eventCount) return null;
    if (!left.requests) return h("p", { class: "partial muted" }, "Every request is counted in full.");
    const share = `${format.number(left.requests)} of ${format.number(eventCount)} requests (${format.percent(left.share)})`;
    const missing = left.estimatedOutput
      ? ["By their text, about ", h("strong", null, `${format.number(left.estimatedOutput)} output tokens`), " are missing; this estimate is not in any number above."]
      : "Their text gives no hint that much is missing.";
    return h(
      "p",
      { class: "partial muted" },
      `The agent left only a placeholder for the output of ${share}; these count with the few tokens it names. `,
      missing,
    );
  }

  return { element, update };
}
