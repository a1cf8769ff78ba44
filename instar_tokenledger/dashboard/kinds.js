// The four kinds of tokens that are counted, in the order in which they are stacked and named.

export const KINDS = [
  { id: "output", label: "Output", total: "totalOutput", colour: "--tokens-output" },
  { id: "input", label: "Input", total: "totalInput", colour: "--tokens-input" },
  { id: "cacheCreate", label: "Cache write", total: "totalCacheCreate", colour: "--tokens-cache-write" },
  { id: "cacheRead", label: "Cache read", total: "totalCacheRead", colour: "--tokens-cache-read" },
];
