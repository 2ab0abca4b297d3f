import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { answer, seen, steps, task } from "./steps.mjs";

const client = new Client({ name: "judge", version: "1" }, { capabilities: { elicitation: {} } });
client.setRequestHandler(ElicitRequestSchema, async (request) => answer(request.params));
const transport =
  task.transport === "stdio"
    ? new StdioClientTransport({ command: task.command, args: task.args, env: { ...process.env, KUBECONFIG: task.kubeconfig }, stderr: "ignore" })
    : new StreamableHTTPClientTransport(new URL(task.url), { requestInit: { headers: { Authorization: `Bearer ${task.token}` } } });
const set = transport.setProtocolVersion?.bind(transport);
transport.setProtocolVersion = (version) => {
  seen.version = version;
  set?.(version);
};
await client.connect(transport);
await steps(client);
