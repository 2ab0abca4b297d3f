// What every client does, in its own words: the last line of the output is what it saw.

import { Ajv2020 } from "ajv/dist/2020.js";

export const task = JSON.parse(process.argv[2]);
export const seen = {};

/** Answers the server's question as a person who types what it asks for. */
export function answer(params) {
  seen.asked = params.message;
  const confirm = /Type (\S+) to delete/.exec(params.message)[1];
  return { action: "accept", content: { confirm } };
}

export async function steps(client) {
  const call = (name, args) => client.callTool({ name, arguments: { namespace: task.namespace, ...args } });
  const failure = (result) => {
    if (!result.isError) throw new Error(`it did not fail: ${JSON.stringify(result)}`);
    return JSON.parse(result.content[0].text);
  };
  const tools = Object.fromEntries((await client.listTools()).tools.map((tool) => [tool.name, tool]));
  seen.tools = Object.keys(tools).length;
  seen.prompts = (await client.listPrompts()).prompts.length;
  const ajv = new Ajv2020();
  const fits = (tool, value) => {
    if (!ajv.validate(tools[tool].outputSchema, value)) throw new Error(`${tool}: ${ajv.errorsText()}`);
  };
  seen.fit = [];
  // The answer of a call, which must fit the tool's schema.
  const ok = async (tool, args) => {
    const result = await call(tool, args);
    if (result.isError) throw new Error(`${tool}: ${JSON.stringify(result)}`);
    fits(tool, result.structuredContent);
    seen.fit.push(tool);
    return result.structuredContent;
  };
  const name = task.name;
  const domain = { name: `${name}-d`, domain: `${name}.test`, waitSeconds: 0 };
  await ok("create_domain", domain);
  const mailbox = { name, domain: domain.name, localPart: name, waitSeconds: 0 };
  seen.created = (await ok("create_mailbox", mailbox)).change;
  await ok("add_alias", { name: `${name}-a`, domain: domain.name, localPart: "a", goto: ["a@b.test"], waitSeconds: 0 });
  const match = { all: [{ field: "Subject", operator: "Contains", values: ["x"] }] };
  await ok("create_forwarding_rule", { name: `${name}-r`, mailbox: name, match, actions: [{ ignore: {} }], waitSeconds: 0 });
  await ok("set_mailbox_state", { name, state: "Inactive", waitSeconds: 0 });
  seen.listed = (await ok("list_mailboxes", {})).items.some((item) => item.name === name);
  for (const tool of ["list_domains", "list_aliases", "list_forwarding_rules"]) await ok(tool, {});
  await ok("get_domain_dns", { name: domain.name });
  if ((await ok("get_domain_dns", { name: "full" })).records.length !== 2) throw new Error("the records of full");
  await ok("explain", { kind: "EmailDomain", name: "full" });
  await ok("explain", { kind: "EmailMailbox", name });
  await ok("test_forwarding_rules", { mailbox: name, from: "a@b.test", message: "Subject: x\n\nhello" });
  seen.missing = failure(await call("explain", { kind: "EmailMailbox", name: "none" })).error;
  seen.wrong = failure(await call("create_mailbox", { ...mailbox, quota: "2GB" })).problems[0].field;
  const uri = `email://${task.namespace}/EmailDomain/${domain.name}`;
  seen.resource = (await client.listResources()).resources.some((resource) => resource.uri === uri);
  fits("explain", JSON.parse((await client.readResource({ uri })).contents[0].text));
  const wanted = { namespace: task.namespace, domain: domain.domain };
  const prompt = await client.getPrompt({ name: "set_up_domain", arguments: wanted });
  seen.prompt = prompt.messages[0].content.text.includes(domain.domain);
  const plan = await ok("plan_delete", { kind: "EmailAlias", name });
  const deleted = await client.callTool({ name: "apply_delete", arguments: { digest: plan.digest } });
  if (deleted.isError) throw new Error(JSON.stringify(deleted));
  fits("apply_delete", deleted.structuredContent);
  seen.fit.push("apply_delete");
  await client.close();
  console.log(JSON.stringify(seen));
  process.exit(0);
}
