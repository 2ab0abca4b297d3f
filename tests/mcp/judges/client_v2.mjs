import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { answer, seen, steps, task } from "./steps.mjs";

const versionNegotiation = { mode: task.old ? "legacy" : "auto" };
const client = new Client({ name: "judge", version: "1" }, { capabilities: { elicitation: { form: {} } }, versionNegotiation });
client.setRequestHandler("elicitation/create", async (request) => answer(request.params));
const transport =
  task.transport === "stdio"
    ? new StdioClientTransport({ command: task.command, args: task.args, env: { ...process.env, KUBECONFIG: task.kubeconfig }, stderr: "ignore" })
    : new StreamableHTTPClientTransport(new URL(task.url), { requestInit: { headers: { Authorization: `Bearer ${task.token}` } } });
await client.connect(transport);
seen.version = client.getNegotiatedProtocolVersion();
await steps(client);
