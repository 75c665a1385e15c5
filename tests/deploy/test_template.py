"""The packaged template says what Chalice cannot; its merge takes mistyped keys in silence, so the result is judged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chalicelib.adapters.dynamodb_items import TTL
from infra.deploy.package import Packaged

Json = Any
#: Function -> (queue, seconds that it may run, how many run at a time).
READERS = {
    "Coordinator": ("CompletionSignals", 60, 100),
    "FunctionWorker": ("TasksFunction", 900, 100),
    "HttpWorker": ("TasksHttp", 300, 100),
    "AgentWorker": ("TasksAgent", 900, 50),
    "DeadSignals": ("CompletionSignalsDlq", 60, 2),
    "DeadFunctionTasks": ("TasksFunctionDlq", 60, 2),
    "DeadHttpTasks": ("TasksHttpDlq", 60, 2),
    "DeadAgentTasks": ("TasksAgentDlq", 60, 2),
}
FUNCTIONS = {"APIHandler", "Starts", "Sweep", "Timeouts", *READERS}
IN_THE_NETWORK = FUNCTIONS - {"FunctionWorker", "HttpWorker", "AgentWorker"}
ENVIRONMENT = {
    "GRAFT_STAGE",
    "GRAFT_TABLE",
    "GRAFT_BUCKET",
    "GRAFT_SIGNING_SECRET_ARN",
    "GRAFT_SCHEDULER_ROLE_ARN",
    "GRAFT_SCHEDULER_GROUP",
    "GRAFT_PARTIAL_BATCHES",
    "GRAFT_REDIS_CLUSTER",
    "REDIS_URL",
    "GRAFT_QUEUE_ALLOWLIST",
    "GRAFT_SECRETS",
}


def of_type(resources: Json, kind: str) -> dict[str, Json]:
    return {name: made["Properties"] for name, made in resources.items() if made["Type"] == kind}


def test_cfn_lint_has_nothing_to_say(packaged: Callable[[str], Packaged], stage: str):
    """No rule is ignored."""
    lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([lint, packaged(stage).template], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_template_is_for_one_stage_only(template: Json, stage: str):
    assert template["Parameters"]["Stage"]["Default"] == stage
    assert template["Parameters"]["Stage"]["AllowedValues"] == [stage]
    other = {"dev": "prod", "prod": "dev"}[stage]
    assert f"graft-{other}" not in json.dumps(template)


def test_every_resource_of_the_app_is_there_and_none_without_a_type(template: Json):
    """A misspelt name in template.yaml would be a resource without a type."""
    assert [name for name, made in template["Resources"].items() if "Type" not in made] == []
    made = {name for name, r in template["Resources"].items() if r["Type"] == "AWS::Serverless::Function"}
    assert made == FUNCTIONS


def test_functions_may_call_each_other_in_a_loop_and_run_on_arm64(resources: Json):
    functions = of_type(resources, "AWS::Lambda::Function")
    assert set(functions) == FUNCTIONS
    for made in functions.values():
        assert made["RecursiveLoop"] == "Allow"
        assert made["Architectures"] == ["arm64"]
        assert made["Runtime"].startswith("python3.")
        assert made["TracingConfig"] == {"Mode": "Active"}
        assert "ReservedConcurrentExecutions" not in made


def test_functions_have_the_settings_that_they_need(resources: Json, stage: str):
    for name, made in of_type(resources, "AWS::Lambda::Function").items():
        variables = made["Environment"]["Variables"]
        assert set(variables) - {"GRAFT_PUBLIC_URL"} == ENVIRONMENT
        assert variables["GRAFT_STAGE"] == stage
        assert variables["GRAFT_PARTIAL_BATCHES"] == "1"
        assert ("GRAFT_PUBLIC_URL" in variables) == (name in IN_THE_NETWORK)


def test_only_what_reaches_redis_is_in_the_private_network(resources: Json):
    functions = of_type(resources, "AWS::Lambda::Function")
    assert {name for name, made in functions.items() if "VpcConfig" in made} == IN_THE_NETWORK
    for name in IN_THE_NETWORK:
        condition, inside, outside = functions[name]["VpcConfig"]["Fn::If"]
        assert condition == "OwnNetwork"
        assert set(inside) == {"SecurityGroupIds", "SubnetIds"}
        assert outside == {"Ref": "AWS::NoValue"}


def test_a_signal_s_way_into_the_coordinator_loses_nothing(resources: Json):
    """Partial failures are reported, waiting is done in the queue, and five receives lead to the dead letters."""
    mappings = of_type(resources, "AWS::Lambda::EventSourceMapping")
    assert len(mappings) == len(READERS)
    for name, (queue, timeout, at_a_time) in READERS.items():
        [mapping] = [made for made in mappings.values() if made["FunctionName"] == {"Ref": name}]
        assert mapping["EventSourceArn"] == {"Fn::Sub": f"${{{queue}.Arn}}"}
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["ScalingConfig"] == {"MaximumConcurrency": at_a_time}
        assert mapping["BatchSize"] <= 10
        assert mapping["MaximumBatchingWindowInSeconds"] == 0
        assert resources[name]["Properties"]["Timeout"] == timeout
        assert resources[queue]["Properties"]["VisibilityTimeout"] >= 6 * timeout


def test_every_queue_keeps_its_messages_and_has_dead_letters(resources: Json):
    queues = of_type(resources, "AWS::SQS::Queue")
    working = {name for name in queues if not name.endswith("Dlq")}
    assert {f"{name}Dlq" for name in working} == set(queues) - working
    for name, made in queues.items():
        assert made["MessageRetentionPeriod"] == 14 * 24 * 3600
        assert made["SqsManagedSseEnabled"] is True
        if name in working:
            assert made["RedrivePolicy"] == {
                "deadLetterTargetArn": {"Fn::GetAtt": [f"{name}Dlq", "Arn"]},
                "maxReceiveCount": 5,
            }
        assert made["QueueName"]["Fn::Sub"] == "graft-${Stage}-" + kebab(name)


def kebab(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def test_the_queues_are_those_of_the_local_stack(resources: Json):
    from infra.local.provision import queues as local_queues

    deployed = {kebab(name) for name in of_type(resources, "AWS::SQS::Queue")}
    assert deployed == {name for spec in local_queues() for name in (spec.name, f"{spec.name}-dlq")}


def test_every_function_has_a_role_with_its_own_policy(template: Json, stage: str):
    from infra.deploy.policies import ROLES, load

    functions = {role: "".join(word.capitalize() for word in role.split("-")) for role in ROLES}
    assert {*functions.values(), "APIHandler"} - {"Api"} == FUNCTIONS
    for role, name in functions.items():
        own_role = "ApiHandlerRole" if role == "api" else f"{name}Role"
        function = template["Resources"]["APIHandler" if role == "api" else name]
        assert function["Properties"]["Role"] == {"Fn::GetAtt": [own_role, "Arn"]}
        [policy] = template["Resources"][own_role]["Properties"]["Policies"]
        assert policy["PolicyDocument"] == load(stage, role)


def test_every_function_logs_to_a_group_that_forgets(resources: Json):
    groups = of_type(resources, "AWS::Logs::LogGroup")
    assert len(groups) == len(FUNCTIONS)
    assert {made["RetentionInDays"] for made in groups.values()} == {30}


def test_the_table_can_be_restored_and_nothing_that_holds_state_is_deleted_with_the_stack(resources: Json):
    table = resources["Table"]["Properties"]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] == [("pk", "HASH"), ("sk", "RANGE")]
    assert table["TimeToLiveSpecification"] == {"AttributeName": TTL, "Enabled": True}
    for name, made in resources.items():
        if made["Type"] in (
            "AWS::DynamoDB::Table",
            "AWS::S3::Bucket",
            "AWS::SecretsManager::Secret",
            "AWS::SQS::Queue",
        ):
            assert (name, made.get("DeletionPolicy"), made.get("UpdateReplacePolicy")) == (name, "Retain", "Retain")


def test_the_bucket_is_private_and_encrypted(resources: Json):
    bucket = resources["Artifacts"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    uploads, notes = bucket["LifecycleConfiguration"]["Rules"]
    assert uploads["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    # Artifacts are kept; only what agents have recorded goes, later than any of their tasks.
    assert (notes["Prefix"], notes["ExpirationInDays"]) == ("notes/", 30)
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]


def test_what_needs_the_network_exists_only_with_it(template: Json):
    """With a Redis of one's own nothing of the network is made, and nothing may refer to it."""
    made = template["Resources"]
    network = {name for name, r in made.items() if r["Type"].startswith(("AWS::EC2::", "AWS::ElastiCache::"))}
    assert {name for name, r in made.items() if r.get("Condition") == "OwnNetwork"} == network
    services = {made[name]["Properties"]["ServiceName"]["Fn::Sub"].rpartition(".")[2] for name in endpoints(made)}
    assert services == {"s3", "dynamodb", "sqs", "secretsmanager", "scheduler"}
    assert not [name for name in network if made[name]["Type"] == "AWS::EC2::InternetGateway"]


def endpoints(made: Json) -> list[str]:
    return [name for name, resource in made.items() if resource["Type"] == "AWS::EC2::VPCEndpoint"]


def test_alarms_and_dashboard_look_at_metrics_that_exist(resources: Json):
    metrics = {
        "AWS/SQS": {
            "ApproximateNumberOfMessagesVisible",
            "ApproximateAgeOfOldestMessage",
            "NumberOfMessagesReceived",
        },
        "AWS/Lambda": {"Errors", "Throttles", "Invocations", "Duration"},
        "AWS/DynamoDB": {"WriteThrottleEvents", "ConsumedWriteCapacityUnits"},
    }
    alarms = of_type(resources, "AWS::CloudWatch::Alarm")
    assert alarms
    assert all(alarm["MetricName"] in metrics[alarm["Namespace"]] for alarm in alarms.values())
    watched = {json.dumps(alarm["Dimensions"]) for alarm in alarms.values()}
    for name in of_type(resources, "AWS::SQS::Queue"):
        queue = [{"Name": "QueueName", "Value": {"Fn::GetAtt": [name, "QueueName"]}}]
        assert json.dumps(queue) in watched or not name.endswith("Dlq")
    text = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    widgets = json.loads(re.sub(r"\$\{[A-Za-z:.]+\}", "x", text))["widgets"]
    named = [metric for widget in widgets for metric in widget["properties"]["metrics"] if metric[0] != "..."]
    assert all(metric[1] in metrics[metric[0]] for metric in named)
    logical = {name.partition(".")[0] for name in re.findall(r"\$\{([A-Za-z:.]+)\}", text)} - {"AWS::Region"}
    assert logical <= set(resources)


def test_what_api_gateway_answers_by_itself_is_a_problem_document(template: Json):
    """The same statuses and members as the app's own answers, so that clients need not know who refused."""
    from chalicelib.api.problems import INTERNAL, KINDS

    own = {kind.status: kind for kind in [*KINDS.values(), INTERNAL]}
    responses = template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"][
        "x-amazon-apigateway-gateway-responses"
    ]
    for name, response in responses.items():
        assert list(response["responseTemplates"]) == ["application/json"]
        document = json.loads(response["responseTemplates"]["application/json"])
        assert list(document) == ["type", "title", "status", "detail", "errors"]
        assert document["errors"] == []
        assert response["statusCode"] == str(document["status"])
        headers = response["responseParameters"]
        assert headers["gatewayresponse.header.Content-Type"] == "'application/problem+json'"
        assert ("gatewayresponse.header.Retry-After" in headers) == (document["status"] in (429, 503))
        if not name.startswith("DEFAULT_4"):
            kinds = {kind.type: kind.title for kind in [*KINDS.values(), INTERNAL] if kind.status == document["status"]}
            assert kinds[document["type"]] == document["title"]
    assert {int(made["statusCode"]) for made in responses.values()} == {400, 401, 403, 404, 413, 429, 500, 503}
    assert {400, 401, 403, 404, 413, 429, 500, 503} <= set(own)
    assert responses["MISSING_AUTHENTICATION_TOKEN"]["statusCode"] == "404"
