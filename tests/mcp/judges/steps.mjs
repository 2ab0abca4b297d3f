// What every client does, in its own words: the last line of the output is what it saw.

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
  seen.tools = (await client.listTools()).tools.length;
  seen.prompts = (await client.listPrompts()).prompts.length;
  await client.listResources();
  const mailbox = { name: task.name, domain: "d", localPart: task.name, waitSeconds: 0 };
  seen.created = (await call("create_mailbox", mailbox)).structuredContent.change;
  const listed = (await call("list_mailboxes", {})).structuredContent;
  seen.listed = listed.items.some((item) => item.name === task.name);
  seen.missing = failure(await call("explain", { kind: "EmailMailbox", name: "none" })).error;
  seen.wrong = failure(await call("create_mailbox", { ...mailbox, quota: "2GB" })).problems[0].field;
  const plan = (await call("plan_delete", { kind: "EmailAlias", name: task.name })).structuredContent;
  const deleted = await client.callTool({ name: "apply_delete", arguments: { digest: plan.digest } });
  if (deleted.isError) throw new Error(JSON.stringify(deleted));
  await client.close();
  console.log(JSON.stringify(seen));
  process.exit(0);
}
