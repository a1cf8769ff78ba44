// Our tab in Hermes's own dashboard: today's numbers, and the way to the page that has all of it.
//
// Promises plain text only, and nothing that outlives the tab. What it shows comes through Hermes's
// server, which has asked for the login before.
(function () {
  "use strict";

  const SDK = window.__HERMES_PLUGIN_SDK__;
  if (!SDK || !window.__HERMES_PLUGINS__) return;
  const h = SDK.React.createElement;
  const { Card, CardHeader, CardTitle, CardContent } = SDK.components;

  function Instar() {
    const [said, setSaid] = SDK.hooks.useState(null);
    const [wrong, setWrong] = SDK.hooks.useState("");
    SDK.hooks.useEffect(function () {
      let here = true;
      SDK.fetchJSON("/api/plugins/instar/overview").then(
        (answer) => here && setSaid(answer),
        (error) => here && setWrong(String(error.message || error)),
      );
      return () => {
        here = false;
      };
    }, []);
    if (wrong) return h("p", { role: "alert", className: "p-4" }, `instar does not answer: ${wrong}`);
    if (said === null) return h("p", { role: "status", className: "p-4" }, "Reading the ledger…");
    return h(
      "div",
      { className: "flex flex-col gap-4 p-4" },
      way(said.address),
      said.spans.map(({ title, text }) => span(title, text)),
    );
  }

  function way(address) {
    if (!address) return h("p", null, "The gateway does not serve instar now: hermes gateway run");
    const attributes = { href: address, target: "_blank", rel: "noopener noreferrer", className: "underline" };
    return h("p", null, h("a", attributes, "Open the whole page"), " (the first time in a browser: hermes instar open, in a terminal)");
  }

  function span(title, text) {
    return h(
      Card,
      { key: title },
      h(CardHeader, null, h(CardTitle, null, title)),
      h(CardContent, null, h("pre", { className: "overflow-x-auto text-sm" }, text)),
    );
  }

  window.__HERMES_PLUGINS__.register("instar", Instar);
})();
