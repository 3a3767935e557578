// Eight parts of a folder:  nextflow run docs/templates/main.nf --bundle model.bundle --images imagesTs --masks masks -resume
// A folder of studies: add  --command 'run --studies'
params.parts = 8
params.command = 'segment'

process segment {
    cpus 4
    memory '8 GB'
    errorStrategy 'retry'
    maxRetries 2

    input:
    val part

    output:
    val part

    script:
    """
    scanside ${params.command} '${params.bundle}' '${params.images}' -o '${params.masks}' --resume --part ${part}/${params.parts} --threads ${task.cpus}
    """
}

workflow {
    segment(Channel.of(1..params.parts)) | collect | view { "scanside merge ${params.masks}" }
}
