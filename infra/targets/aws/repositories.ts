/** ECR: tags written once, scanned on push, encrypted, old images expired; pulled by digest. */
import * as ecr from "@pulumi/aws/ecr/index.js";
import type { Provider } from "@pulumi/aws/provider.js";
import * as pulumi from "@pulumi/pulumi";

export interface RepositoriesArgs {
  readonly prefix: string;
  readonly kmsKeyArn: pulumi.Output<string>;
  readonly provider: Provider;
}

/** Untagged images and all but the newest thirty: about 0.10 USD a month for each GB kept. */
export const LIFECYCLE = JSON.stringify({
  rules: [
    {
      rulePriority: 1,
      description: "Untagged images",
      selection: { tagStatus: "untagged", countType: "sinceImagePushed", countUnit: "days", countNumber: 14 },
      action: { type: "expire" },
    },
    {
      rulePriority: 2,
      description: "All but the newest thirty",
      selection: { tagStatus: "any", countType: "imageCountMoreThan", countNumber: 30 },
      action: { type: "expire" },
    },
  ],
});

export class Repositories extends pulumi.ComponentResource {
  readonly sandbox: ecr.Repository;
  readonly gateway: ecr.Repository;
  /** Without a repository's name. */
  readonly server: pulumi.Output<string>;

  constructor(name: string, args: RepositoriesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:aws:Repositories", name, {}, opts);
    this.sandbox = this.#repository(name, "custom-rce-kernel", args);
    this.gateway = this.#repository(name, "gateway", args);
    this.server = this.gateway.repositoryUrl.apply((url) => url.split("/")[0] ?? url);
    this.registerOutputs({ sandbox: this.sandbox.repositoryUrl, gateway: this.gateway.repositoryUrl });
  }

  #repository(name: string, purpose: string, args: RepositoriesArgs): ecr.Repository {
    const options = { parent: this, provider: args.provider };
    const repository = new ecr.Repository(
      `${name}-${purpose}`,
      {
        name: `${args.prefix}/${purpose}`,
        imageTagMutability: "IMMUTABLE",
        imageScanningConfiguration: { scanOnPush: true },
        encryptionConfigurations: [{ encryptionType: "KMS", kmsKey: args.kmsKeyArn }],
        // Images are made again from the checkout; nothing is lost with them.
        forceDelete: true,
      },
      options,
    );
    new ecr.LifecyclePolicy(
      `${name}-${purpose}-lifecycle`,
      { repository: repository.name, policy: LIFECYCLE },
      options,
    );
    return repository;
  }
}
