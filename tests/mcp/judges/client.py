"""What every client does, in the words of the Python SDK: the last line of the output is what it saw."""

import asyncio
import json
import os
import re
import sys

import httpx2
import jsonschema
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

task = json.loads(sys.argv[1])
seen = {}


async def answer(_context, params):
    """Answers the server's question as a person who types what it asks for."""
    seen["asked"] = params.message
    confirm = re.search(r"Type (\S+) to delete", params.message).group(1)
    return ElicitResult(action="accept", content={"confirm": confirm})


def server():
    if task["transport"] == "stdio":
        env = {**os.environ, "KUBECONFIG": task["kubeconfig"]}
        return StdioServerParameters(command=task["command"], args=task["args"], env=env)
    headers = {"Authorization": f"Bearer {task['token']}"}
    return streamable_http_client(task["url"], http_client=httpx2.AsyncClient(headers=headers, timeout=60))


def failure(result):
    assert result.is_error, result
    return json.loads(result.content[0].text)


async def main():
    mode = "legacy" if task["old"] else "auto"
    async with Client(server(), mode=mode, elicitation_callback=answer) as client:
        seen["version"] = client.protocol_version

        async def call(tool, /, **arguments):
            return await client.call_tool(tool, {"namespace": task["namespace"], **arguments})

        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        seen["tools"] = len(tools)
        seen["prompts"] = len((await client.list_prompts()).prompts)
        fit = seen["fit"] = []

        async def ok(tool, /, **arguments):
            """The answer of a call, which must fit the tool's schema."""
            result = await call(tool, **arguments)
            assert not result.is_error, (tool, result)
            jsonschema.validate(result.structured_content, tools[tool].output_schema)
            fit.append(tool)
            return result.structured_content

        name = task["name"]
        domain = {"name": f"{name}-d", "domain": f"{name}.test", "waitSeconds": 0}
        await ok("create_domain", **domain)
        mailbox = {"name": name, "domain": domain["name"], "localPart": name, "waitSeconds": 0}
        seen["created"] = (await ok("create_mailbox", **mailbox))["change"]
        await ok("add_alias", name=f"{name}-a", domain=domain["name"], localPart="a", goto=["a@b.test"], waitSeconds=0)
        rule = {"match": {"all": [{"field": "Subject", "operator": "Contains", "values": ["x"]}]}, "actions": [{"ignore": {}}]}
        await ok("create_forwarding_rule", name=f"{name}-r", mailbox=name, waitSeconds=0, **rule)
        await ok("set_mailbox_state", name=name, state="Inactive", waitSeconds=0)
        listed = await ok("list_mailboxes")
        seen["listed"] = any(item["name"] == name for item in listed["items"])
        for tool in ["list_domains", "list_aliases", "list_forwarding_rules"]:
            await ok(tool)
        await ok("get_domain_dns", name=domain["name"])
        assert len((await ok("get_domain_dns", name="full"))["records"]) == 2
        await ok("explain", kind="EmailDomain", name="full")
        await ok("explain", kind="EmailMailbox", name=name)
        await ok("test_forwarding_rules", mailbox=name, **{"from": "a@b.test"}, message="Subject: x\n\nhello")
        seen["missing"] = failure(await call("explain", kind="EmailMailbox", name="none"))["error"]
        seen["wrong"] = failure(await call("create_mailbox", **{**mailbox, "quota": "2GB"}))["problems"][0]["field"]
        resources = (await client.list_resources()).resources
        uri = f"email://{task['namespace']}/EmailDomain/{domain['name']}"
        seen["resource"] = any(str(resource.uri) == uri for resource in resources)
        read = json.loads((await client.read_resource(uri)).contents[0].text)
        jsonschema.validate(read, tools["explain"].output_schema)
        wanted = {"namespace": task["namespace"], "domain": domain["domain"]}
        prompt = await client.get_prompt("set_up_domain", wanted)
        seen["prompt"] = domain["domain"] in prompt.messages[0].content.text
        plan = await ok("plan_delete", kind="EmailAlias", name=name)
        deleted = await client.call_tool("apply_delete", {"digest": plan["digest"]})
        assert not deleted.is_error, deleted
        jsonschema.validate(deleted.structured_content, tools["apply_delete"].output_schema)
        fit.append("apply_delete")
    print(json.dumps(seen))


asyncio.run(main())
