// The suite imports globSync, which fs has from Node.js 22 on; it needs it only for its own upkeep. This lets it start on
// Node.js 20: node --import ./conformance.mjs node_modules/@modelcontextprotocol/conformance/dist/index.js …

import { register } from "node:module";

const shim = `export * from "node:fs"; export { default } from "node:fs"; export const globSync = () => [];`;
const hook = `
const shim = "data:text/javascript," + encodeURIComponent(${JSON.stringify(shim)});
export async function resolve(specifier, context, next) {
  const isSuite = context.parentURL?.includes("modelcontextprotocol/conformance");
  return specifier === "fs" && isSuite ? { url: shim, shortCircuit: true } : next(specifier, context);
}`;
register("data:text/javascript," + encodeURIComponent(hook));
