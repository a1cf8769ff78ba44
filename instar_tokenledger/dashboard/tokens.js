export async function mount(element, api) {
  api.replace(element, api.h("h1", null, "Tokens"));
}
