/** Rules for what resources in AWS are to each other. */
import { isMadeOf, type Neighbour, stackRule } from "./rule";

const of = (resources: readonly Neighbour[], type: string) => resources.filter((one) => one.type === type);

const GUARDS = {
  "a public access block": "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
  "an encryption rule":
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
  "a policy that asks for TLS": "aws:s3/bucketPolicy:BucketPolicy",
  "a rule that ends what is in it": "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
};

export const bucketGuarded = stackRule({
  name: "bucket-guarded",
  severity: "critical",
  description: "Every bucket has its public access block, encryption, TLS policy and lifecycle.",
  reason: "A bucket that nobody guards obeys every rule about guards.",
  violations: (resources) =>
    of(resources, "aws:s3/bucket:Bucket").flatMap((bucket) =>
      Object.entries(GUARDS)
        .filter(([, type]) => !of(resources, type).some((guard) => isMadeOf(guard, "bucket", bucket)))
        .map(([what]) => `${bucket.name} has no ${what.replace(/^an? /, "")}.`),
    ),
});

export const hostRoleOwn = stackRule({
  name: "host-role-own",
  severity: "critical",
  description: "Hosts take on a role of the stack, and nobody else's.",
  reason: "Another role may do what no rule here has seen.",
  violations: (resources) =>
    of(resources, "aws:iam/instanceProfile:InstanceProfile")
      .filter(
        (profile) => !of(resources, "aws:iam/role:Role").some((role) => isMadeOf(profile, "role", role)),
      )
      .map((profile) => `${profile.name} carries a role that is not of this stack.`),
});

const INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule";

export const endpointServesVpc = stackRule({
  name: "endpoint-serves-vpc",
  severity: "high",
  description:
    "Endpoints that answer by AWS' own names are in a VPC of the stack, or let its whole range in.",
  reason: "Every machine of the VPC is led to them.",
  violations: (resources) =>
    of(resources, "aws:ec2/vpcEndpoint:VpcEndpoint")
      .filter(({ props }) => props.privateDnsEnabled === true)
      .filter((endpoint) => !of(resources, "aws:ec2/vpc:Vpc").some((vpc) => isMadeOf(endpoint, "vpcId", vpc)))
      .filter((endpoint) => {
        const groups = of(resources, "aws:ec2/securityGroup:SecurityGroup").filter((group) =>
          isMadeOf(endpoint, "securityGroupIds", group),
        );
        const ranges = of(resources, INGRESS).filter(({ props }) => typeof props.cidrIpv4 === "string");
        return !ranges.some((rule) => groups.some((group) => isMadeOf(rule, "securityGroupId", group)));
      })
      .map((endpoint) => `${endpoint.name} shuts the VPC's other machines out.`),
});

export const AWS_STACK_POLICIES = [bucketGuarded, hostRoleOwn, endpointServesVpc];
