"""What every client does, in the words of the Python SDK: the last line of the output is what it saw."""

import asyncio
import json
import os
import re
import sys

import httpx2
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

        seen["tools"] = len((await client.list_tools()).tools)
        seen["prompts"] = len((await client.list_prompts()).prompts)
        await client.list_resources()
        mailbox = {"name": task["name"], "domain": "d", "localPart": task["name"], "waitSeconds": 0}
        seen["created"] = (await call("create_mailbox", **mailbox)).structured_content["change"]
        listed = (await call("list_mailboxes")).structured_content
        seen["listed"] = any(item["name"] == task["name"] for item in listed["items"])
        seen["missing"] = failure(await call("explain", kind="EmailMailbox", name="none"))["error"]
        seen["wrong"] = failure(await call("create_mailbox", **{**mailbox, "quota": "2GB"}))["problems"][0]["field"]
        plan = (await call("plan_delete", kind="EmailAlias", name=task["name"])).structured_content
        deleted = await client.call_tool("apply_delete", {"digest": plan["digest"]})
        assert not deleted.is_error, deleted
    print(json.dumps(seen))


asyncio.run(main())
