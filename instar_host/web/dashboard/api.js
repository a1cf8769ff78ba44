// How the page talks to its host: fetch with the token, streams that come back by themselves.
//
// Promises that the token travels in one header only, and that everything a panel began ends with its
// `signal`. Never retries what changes something.

const BASE = new URL("./", location.href);
const SILENCE_MS = 45_000;
const MAX_BACK_OFF_MS = 30_000;
const WRONG_TOKEN = "Invalid auth token";
const SENDABLE = /^[\x21-\x7E]+$/;

export class ApiError extends Error {
  constructor(status, message, body) {
    super(message);
    this.name = "ApiError";
    this.status = status; // 0: nobody answered
    this.body = body;
    this.title = status === 0 ? "The host does not answer" : status === 503 ? "Not ready yet" : undefined;
  }

  // True when the token is missing or wrong.
  get locked() {
    return this.status === 401 || (this.status === 403 && this.message === WRONG_TOKEN);
  }
}

export class Client {
  // `token()` gives the bearer token or null; `locked()` is called when the host does not accept it.
  constructor({ token, locked }) {
    this.token = token;
    this.locked = locked;
  }

  async request(method, path, { params, body, signal } = {}) {
    const response = await this.fetch(method, path, { params, body, signal });
    const text = await response.text().catch((error) => {
      if (signal?.aborted) throw error;
      throw unanswered(); // the host ended in the middle of it
    });
    try {
      return text === "" ? null : JSON.parse(text);
    } catch {
      throw new ApiError(response.status, "The answer was not JSON.");
    }
  }

  async fetch(method, path, { params, body, signal, accept = "application/json" } = {}) {
    const headers = { accept };
    const token = this.token();
    if (token && !SENDABLE.test(token)) {
      const error = new ApiError(403, WRONG_TOKEN); // a browser sends no such header, so the host need not be asked
      this.locked(error);
      throw error;
    }
    if (token) headers.authorization = `Bearer ${token}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    const options = { method, headers, signal, cache: "no-store", redirect: "error" };
    if (body !== undefined) options.body = JSON.stringify(body);
    let response;
    try {
      response = await fetch(address(path, params), options);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw unanswered();
    }
    if (!response.ok) throw await this.refused(response);
    return response;
  }

  async refused(response) {
    let body = null;
    try {
      body = await response.json();
    } catch {
      // an error without our shape: the status has to do
    }
    const error = new ApiError(response.status, String(body?.error ?? `HTTP ${response.status}`), body);
    if (error.locked) this.locked(error);
    return error;
  }

  // Calls onEvent({event, data}) for every server-sent event and onState("live" | "waiting") until the signal
  // is aborted. Comes back after a break, later each time; after `again` the panel should ask afresh, because
  // events may have been missed. A page that nobody sees holds no stream: browsers allow six connections to a
  // host, and a seventh open page would wait for ever.
  async stream(path, onEvent, { params, signal, onState = () => {}, again = () => {} }) {
    for (let failures = 0, first = true; !signal.aborted; first = false) {
      await seen(signal);
      if (signal.aborted) return;
      const began = Date.now();
      try {
        const live = () => {
          onState("live");
          if (!first) again();
        };
        await this.readStream(path, params, signal, onEvent, live);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof ApiError && (error.locked || error.status === 404)) return onState("quiet");
      }
      if (signal.aborted) return;
      if (document.hidden) continue;
      failures = Date.now() - began > 10_000 ? 0 : failures + 1;
      onState("waiting");
      await pause(Math.min(MAX_BACK_OFF_MS, 500 * 2 ** failures) * (0.75 + Math.random() / 2), signal);
    }
  }

  async readStream(path, params, signal, onEvent, live) {
    const watch = new AbortController();
    const stop = () => watch.abort();
    const hide = () => document.hidden && stop();
    signal.addEventListener("abort", stop, { once: true });
    document.addEventListener("visibilitychange", hide);
    let timer = setTimeout(stop, SILENCE_MS);
    try {
      const response = await this.fetch("GET", path, { params, signal: watch.signal, accept: "text/event-stream" });
      live();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(stop, SILENCE_MS);
        const frames = (rest + value).split("\n\n");
        rest = frames.pop();
        for (const frame of frames) deliver(frame, onEvent);
      }
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      document.removeEventListener("visibilitychange", hide);
      watch.abort();
    }
  }
}

function deliver(frame, onEvent) {
  let event = "message";
  const data = [];
  for (const line of frame.split("\n")) {
    if (line.startsWith("event:")) event = line.slice(6).trim();
    if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  if (data.length === 0) return;
  let value;
  try {
    value = JSON.parse(data.join("\n"));
  } catch {
    return; // a frame that is not ours to understand
  }
  try {
    onEvent({ event, data: value });
  } catch (error) {
    console.error(error); // the panel's own: the stream is whole
  }
}

function unanswered() {
  return new ApiError(0, "Is `instar serve` still running? This page tries again when you ask it to.");
}

function address(path, params) {
  const url = new URL(path.replace(/^\//, ""), BASE);
  if (url.origin !== BASE.origin || !url.pathname.startsWith(BASE.pathname)) {
    throw new TypeError("a path of this host");
  }
  for (const [name, value] of Object.entries(params ?? {})) {
    for (const one of [value].flat()) {
      if (one !== null && one !== undefined && one !== "") url.searchParams.append(name, one);
    }
  }
  return url;
}

// Resolves once the page can be seen, or the signal is aborted.
function seen(signal) {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      signal.removeEventListener("abort", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look);
    look();
  });
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}
